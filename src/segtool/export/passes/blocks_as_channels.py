"""A transposed convolution whose kernel is its stride becomes a 1x1 convolution and a change of places, for INT8 alone.

With kernel = stride = (a, b) every input pixel makes its own a x b block of the output, and no two overlap: output
pixel (y a + i, x b + j) of channel k is sum_c W[c, k, i, j] x[c, y, x], one of a b K channels of a 1x1 convolution.
Then (N, h, w, a, b, K) is put in the order (N, h a, w b, K), which moves whole pixels. A ReLU or ReLU6 behind it
changes single numbers, so it goes in front of the change of places, where an INT8 convolution does it for nothing.

onnxruntime has no INT8 transposed convolution. 64 to 32 channels, 2x2, on a map of 16 x 22 (one thread, Zen 5):
15 us in place of 55 in float with what it takes to get there and back. In float it does not pay.

The sums are the same in another order: within rounding. Refuses groups, dilation, output padding, a crop, shared
weights and maps of unknown size. What ends in an arg-max is left to `labels_per_block`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.labels_per_block import block_weights
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a transposed convolution that another convolution reads, maybe through other steps."""
    if not g.feeds_a_convolution(node):
        return None
    weights = block_weights(node)
    if any(g.explicit_pads(node)):
        raise Refused("its output is cropped")
    _, height, width = g.static_shape(node.inputs[0])
    _, count, rows, columns = weights.shape
    end = g.clamp_on(node)
    channels = weights.transpose(2, 3, 1, 0).reshape(rows * columns * count, -1, 1, 1)
    inputs: list[ir.Value | None] = [node.inputs[0], g.add_constant(node, channels, "weight")]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs.append(g.add_constant(node, np.tile(g.own_array(node.inputs[2], "bias"), rows * columns), "bias"))
    value = g.insert(node, "Conv", inputs, kernel_shape=[1, 1], pads=[0, 0, 0, 0], strides=[1, 1], dilations=[1, 1])
    if end is not node:
        value = g.moved(end, value)
    g.bypass(end, _placed(end, value, (height, width, rows, columns, count)))
    return f"{rows}x{columns} blocks as {len(channels)} channels"


def _placed(place: ir.Node, value: ir.Value, sizes: tuple[int, int, int, int, int]) -> ir.Value:
    """Return (N, K, h a, w b) from (N, a b K, h, w) by way of channels-last memory."""
    height, width, rows, columns, count = sizes
    split = np.array([-1, height, width, rows, columns, count], np.int64)
    joined = np.array([-1, height * rows, width * columns, count], np.int64)
    last = g.insert(place, "Transpose", [value], perm=[0, 2, 3, 1])
    blocks = g.insert(place, "Reshape", [last, g.add_constant(place, split, "blocks")])
    ordered = g.insert(place, "Transpose", [blocks], perm=[0, 1, 3, 2, 4, 5])
    pixels = g.insert(place, "Reshape", [ordered, g.add_constant(place, joined, "pixels")])
    return g.insert(place, "Transpose", [pixels], perm=[0, 3, 1, 2])


BLOCKS_AS_CHANNELS = Rewrite("blocks as channels", frozenset({"ConvTranspose"}), apply)
