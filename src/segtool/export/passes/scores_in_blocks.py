"""A convolution that scores few classes computes blocks of pixels, and the arg-max comes before the change of places.

onnxruntime computes float convolutions with 16 output channels at a time (AVX-512; AVX2: 8), of which K classes fill
a part. Blocks of a x b pixels are a b K channels of one convolution of stride (a, b): with the taps W, the channels of
place (i, j) have the (k + a - 1) x (k + b - 1) taps V[i + u, j + v] = W[u, v], and zeros. For 3x3 and 4 classes, 2 x 2
blocks take 16 x 16 products a channel in place of 4 x 9 x 16, counted with the channels that are padded. The arg-max
is then over neighbours in memory, and labels, of one byte, change places. The float head is in the INT8 file too.

16 channels on 256 x 256 pixels, 4 classes: 2.5 of the 92 ms of a U-Net with ResNet18 in FP32 (one thread, AMD EPYC).

The sums are the same in another order: within rounding. Refuses strides, dilation, groups and pads that change the
size, and a size that is no multiple of a block.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_CHANNELS = 16
_BLOCKS = ((4, 4), (2, 4), (2, 2), (1, 2))  # the largest first


def apply(node: ir.Node) -> str | None:
    """Rewrite the Cast of an ArgMax of a convolution of few classes."""
    conv = g.classified(node)
    weights = g.array(conv.inputs[1]) if conv is not None and conv.op_type == "Conv" else None
    if conv is None or weights is None or weights.ndim != 4 or max(weights.shape[2:]) == 1:
        return None
    block = next((block for block in _BLOCKS if block[0] * block[1] * len(weights) <= _CHANNELS), None)
    if block is None:
        return None
    _, height, width = _checked(conv, block)
    g.require_sole_users(node.inputs[0], conv.outputs[0])
    (rows, columns), classes = block, len(weights)
    sizes = (height // rows, width // columns, rows, columns)
    scores = g.channels_last(node, _convolved(conv, _in_blocks(weights, block), block))
    apart = g.reshaped(node, scores, [-1, *sizes[:2], rows * columns, classes], "classes")
    ids = g.insert(node, "ArgMax", [apart], axis=4, keepdims=0)
    g.bypass(node, g.in_place(node, g.insert(node, "Cast", [ids], to=node.attributes.get_int("to", 0)), sizes))
    return f"{classes} classes of {rows} x {columns} pixels as channels"


def _convolved(conv: ir.Node, weights: AnyArray, block: tuple[int, int]) -> ir.Value:
    """Return the convolution of blocks, (N, a b K, h, w)."""
    inputs: list[ir.Value | None] = [conv.inputs[0], g.add_constant(conv, weights, "weight")]
    if (bias := g.own_bias(conv)) is not None:
        inputs.append(g.add_constant(conv, np.tile(bias, block[0] * block[1]), "bias"))
    taps, pads = list(weights.shape[2:]), g.explicit_pads(conv)
    return g.insert(conv, "Conv", inputs, kernel_shape=taps, pads=pads, strides=list(block))


def _checked(conv: ir.Node, block: tuple[int, int]) -> tuple[int, ...]:
    """Return the size of the output of a convolution that can be computed in blocks."""
    before, after = g.static_shape(conv.inputs[0]), g.static_shape(conv.outputs[0])
    g.require_plain(conv)
    if before[1:] != after[1:]:
        raise Refused("its pads change the size")
    if any(size % count for size, count in zip(after[1:], block, strict=True)):
        raise Refused(f"{after[1]} x {after[2]} pixels are not blocks of {block[0]} x {block[1]}")
    return after


def _in_blocks(weights: AnyArray, block: tuple[int, int]) -> AnyArray:
    """Return the kernels (a b K, C, k + a - 1, k + b - 1) from those (K, C, k, k)."""
    count, channels, height, width = weights.shape
    rows, columns = block
    found = np.zeros((rows, columns, count, channels, height + rows - 1, width + columns - 1), weights.dtype)
    for row in range(rows):
        for column in range(columns):
            found[row, column, :, :, row : row + height, column : column + width] = weights
    return found.reshape(-1, *found.shape[3:])


SCORES_IN_BLOCKS = Rewrite("scores of few classes in blocks", frozenset({"Cast"}), apply)
