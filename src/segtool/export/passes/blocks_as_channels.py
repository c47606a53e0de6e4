"""A transposed convolution becomes a convolution and a change of places, for INT8 alone.

Each input pixel adds its multiple of the kernel to the output, `stride` pixels from that of its neighbour. Along one
axis let a be the stride, W the kernel of k taps, p the number of output rows cut off in front, and V the kernel W with
f zeros in front and zeros behind, T a taps in all: T = ceil((f + k) / a). Before the cut, row i of block q is

    out[q a + i] = sum_t V[t a + i] x[q - t],

a convolution of stride 1 with T taps, with a kernel of its own for each i. Both axes together have a b K output
channels. 4x4 of stride 2 becomes 2x2, as many products as before. 3x3 of stride 2 becomes 2x2 as well, where 7 of 16
products are with zeros. Kernel = stride becomes 1x1: no two blocks overlap.

Then (N, h, w, a, b, K) is put in the order (N, h a, w b, K), which moves whole pixels, and p + f rows are cut off in
front: whole blocks by the pads of the convolution, the rest by a Slice. f = -p mod a leaves no rest, but is taken only
where it needs no further tap. A ReLU or ReLU6 behind it changes single numbers, so it goes in front of the change of
places, where an INT8 convolution does it for nothing. A leaky ReLU is not part of one: it stays behind, so that
integers change places even where floats are read afterwards.

onnxruntime has no INT8 transposed convolution. Times in us on one thread of a Xeon with VNNI, in brackets with AVX2
alone. "Float" includes the steps from integers and back; the last two columns are what was not taken:

| channels, kernel/stride, map  | float         | INT8        | no Slice, 3 taps | DepthToSpace |
| ----------------------------- | ------------- | ----------- | ---------------- | ------------ |
| 64 to 32, 2x2/2, 16 x 22      | 69 (89)       | 25 (45)     |                  | 71 (88)      |
| 128 to 64, 4x4/2, 32 x 32     | 2588 (4258)   | 476 (1495)  | 847 (2891)       | 756 (1731)   |
| 64 to 64, 3x3/2, 32 x 32      | 849 (1354)    | 233 (725)   |                  |              |
| 32 to 16, 16x16/8, 16 x 16    | 1205 (1401)   | 214 (485)   | 285 (789)        | 355 (625)    |

Products with zeros cost the gain where there is no VNNI. With 1.8, 2.3, 2.6, 2.7, 3.6 and 4 times as many products,
INT8 is 1.9, 1.4, 1.2, 1.4, 1.1 and 0.7 times as fast as float (with VNNI 3.6, 2.7, 2.6, 2.8, 2.2 and 1.6 times). More
than three times as many are refused.

The sums are the same in another order: within rounding. Refuses groups, dilation, a size given by output_shape, shared
weights and maps of unknown size. What ends in an arg-max is left to `labels_per_block`; upsampled scores stay as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_MOST_PRODUCTS = 3.0  # times those of the transposed convolution; see the module


@dataclass(frozen=True)
class Axis:
    """One axis of the convolution, with the letters of the module.

    Attributes
    ----------
    stride
        Rows of a block: a.
    zeros, taps
        In front of the kernel, and in all: f and T.
    begin, end
        Pads of the convolution.
    blocks
        That it returns.
    crop, size
        Rows to drop in front of the output, and rows of it.
    growth
        Products, in units of those of the transposed convolution.
    """

    stride: int
    zeros: int
    taps: int
    begin: int
    end: int
    blocks: int
    crop: int
    size: int
    growth: float

    @property
    def is_cropped(self) -> bool:
        """Whether rows of the blocks are dropped."""
        return self.size != self.blocks * self.stride


def apply(node: ir.Node) -> str | None:
    """Rewrite a transposed convolution whose output is more than scores, maybe after other steps."""
    if not g.reaches(node, _mixes):
        return None
    weights = g.transposed_weights(node)
    axes = _axes(node, weights.shape[2:])
    if (growth := axes[0].growth * axes[1].growth) > _MOST_PRODUCTS:
        raise Refused(f"as a convolution it takes {growth:.1f} times the multiplications")
    end = g.clamp_on(node)
    value = in_blocks(node, node.inputs[0], weights, axes, bias=g.own_bias(node), clamp=None if end is node else end)
    g.bypass(end, value)
    return f"{axes[0].stride}x{axes[1].stride} blocks as {weights.shape[1] * axes[0].stride * axes[1].stride} channels"


def in_blocks(
    place: ir.Node,
    value: ir.Value | None,
    weights: AnyArray,
    axes: tuple[Axis, Axis],
    *,
    bias: AnyArray | None,
    clamp: ir.Node | None = None,
) -> ir.Value:
    """Return a transposed convolution as a convolution and a change of places, in front of a node.

    Parameters
    ----------
    place
        The node.
    value
        Map (N, C, h, w).
    weights
        (C, K, k, k) of the transposed convolution.
    axes
        As from `blocks_along`, of rows and columns.
    bias
        (K,), if any.
    clamp
        What is behind the transposed convolution, and is repeated in front of the change of places.
    """
    count, blocks = weights.shape[1], axes[0].stride * axes[1].stride
    inputs: list[ir.Value | None] = [value, g.add_constant(place, _kernels(weights, axes), "weight")]
    if bias is not None:
        inputs.append(g.add_constant(place, np.tile(bias, blocks), "bias"))
    pads = [*(axis.begin for axis in axes), *(axis.end for axis in axes)]
    kernel = [axis.taps for axis in axes]
    made = g.insert(place, "Conv", inputs, kernel_shape=kernel, pads=pads, strides=[1, 1], dilations=[1, 1])
    return _placed(place, made if clamp is None else g.copied(place, clamp, made), axes, count)


def _mixes(node: ir.Node) -> bool:
    """Say whether a layer does more than upsample what it reads, as scores are.

    A transposed convolution or a product does if it returns neither as many channels as it reads nor a block of them
    for each pixel.
    """
    if node.op_type == "Conv":
        return True
    weights = g.array(node.inputs[1]) if node.op_type in ("ConvTranspose", "MatMul") else None
    if weights is None or weights.ndim < 2:
        return False
    # The weights of both hold the input channels first.
    return bool(weights.shape[1] * node.attributes.get_int("group", 1) % weights.shape[0])


def _axes(node: ir.Node, kernel: tuple[int, ...]) -> tuple[Axis, Axis]:
    pads, strides, more = g.explicit_pads(node), g.ints(node, "strides", [1, 1]), g.ints(node, "output_padding", [0, 0])
    _, *sizes = g.static_shape(node.inputs[0])
    rows, columns = (
        blocks_along(kernel[i], strides[i], sizes[i], cut=(pads[i], pads[i + 2] - more[i])) for i in range(len(sizes))
    )
    return rows, columns


def blocks_along(kernel: int, stride: int, size: int, *, cut: tuple[int, int]) -> Axis:
    """Return how an axis of `size` pixels becomes blocks; `cut`: rows of the output not returned in front and behind.

    For 16 pixels, 4 taps, stride 2 and one row cut on both sides: 2 taps and 17 blocks, cropped by one row.
    """
    zeros = -cut[0] % stride
    if _ceil(zeros + kernel, stride) > _ceil(kernel, stride):
        zeros = 0
    taps, wanted = _ceil(zeros + kernel, stride), (size - 1) * stride + kernel - sum(cut)
    # The first and the last block that something is wanted of; not those that are made of padding alone.
    first = min((cut[0] + zeros) // stride, taps - 1)
    last = max((cut[0] + zeros + wanted - 1) // stride, size - 1)
    blocks, crop = last - first + 1, cut[0] + zeros - first * stride
    growth = blocks * taps * stride / (size * kernel)
    return Axis(stride, zeros, taps, taps - 1 - first, last - size + 1, blocks, crop, wanted, growth)


def _ceil(value: int, divisor: int) -> int:
    return -(-value // divisor)


def _kernels(weights: AnyArray, axes: tuple[Axis, Axis]) -> AnyArray:
    """Return the kernels (a b K, C, T, T) of the convolution from those (C, K, k, k) of the transposed one."""
    behind = [axis.taps * axis.stride - axis.zeros - size for axis, size in zip(axes, weights.shape[2:], strict=True)]
    padded = np.pad(weights, [(0, 0), (0, 0), *((axis.zeros, more) for axis, more in zip(axes, behind, strict=True))])
    rows, columns = axes
    apart = padded.reshape(*weights.shape[:2], rows.taps, rows.stride, columns.taps, columns.stride)
    # Tap t of a convolution reads x[q + t - (T - 1)].
    turned = apart[:, :, ::-1, :, ::-1].transpose(3, 5, 1, 0, 2, 4)
    found: AnyArray = turned.reshape(-1, len(weights), rows.taps, columns.taps)
    return found


def _placed(place: ir.Node, value: ir.Value, axes: tuple[Axis, Axis], count: int) -> ir.Value:
    """Return (N, K, h a, w b), cropped, from (N, a b K, h, w) by way of channels-last memory."""
    rows, columns = axes
    split = [-1, rows.blocks, columns.blocks, rows.stride, columns.stride, count]
    blocks = g.reshaped(place, g.channels_last(place, value), split, "blocks")
    ordered = g.insert(place, "Transpose", [blocks], perm=[0, 1, 3, 2, 4, 5])
    joined = [-1, rows.blocks * rows.stride, columns.blocks * columns.stride, count]
    pixels = g.reshaped(place, ordered, joined, "pixels")
    if rows.is_cropped or columns.is_cropped:
        pixels = g.cropped(place, pixels, [axis.crop for axis in axes], [axis.size for axis in axes])
    return g.channels_first(place, pixels)


BLOCKS_AS_CHANNELS = Rewrite("blocks as channels", frozenset({"ConvTranspose"}), apply)
