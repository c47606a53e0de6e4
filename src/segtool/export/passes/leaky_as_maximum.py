"""The leaky ReLU behind the first convolution becomes a maximum of two of its channels, for INT8 alone.

For a slope a of 0 to 1, leaky(x) = max(x, a x). The convolution makes x and a x, a second set of channels with
weights a W and bias a b, and a MaxPool takes the larger of each two. With pixels as channels (`pixels_as_channels`)
both sets lie side by side in channels-last memory, (N, H, W/4, 2 x 4 K) = (N, H, 2 x W/4, 4 K) byte for byte, so the
pooling is one of 1 x 2 pixels. Only what the pooling keeps needs integers, so one rounding goes too.

Twice the multiplications, on a layer that has hardly any, in place of a look-up of every value in a table. On fcn8
(64 x 84, one thread, Zen 5), first convolution and leaky ReLU: 77 us in place of 90. Not done for later
convolutions: there the multiplications cost more than the table.

a x is rounded once whether a multiplies the weights or the sum: within rounding. Refuses slopes outside of 0 to 1,
shared weights, and a map that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite

_TO_FRONT, _TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def apply(node: ir.Node) -> str | None:
    """Rewrite a LeakyRelu on what `pixels_as_channels` made."""
    found = _blocked_convolution(node)
    if found is None:
        return None
    conv, way = found
    slope = node.attributes.get_float("alpha", 0.01)
    if not 0 <= slope <= 1:
        raise Refused(f"its slope is {slope:g}")
    g.require_sole_users(node.inputs[0], *(step.inputs[0] for step in way))
    arrays = [g.own_array(value, role) for value, role in zip(conv.inputs[1:], ("weight", "bias"), strict=False)]
    (channels, height, width), blocks = g.static_shape(node.outputs[0]), g.static_shape(conv.outputs[0])[2]
    for index, (array, role) in enumerate(zip(arrays, ("weight", "bias"), strict=False), start=1):
        g.set_constant(conv, index, np.concatenate([array, np.float32(slope) * array]).astype(array.dtype), role)
    conv.outputs[0].shape = None
    pairs = _viewed(node, conv.outputs[0], (height, 2 * blocks, channels * width // blocks))
    larger = g.insert(node, "MaxPool", [pairs], kernel_shape=[1, 2], strides=[1, 2])
    g.bypass(node, _viewed(node, larger, (height, width, channels)))
    return f"the larger of {len(arrays[0])} pairs of channels"


def _blocked_convolution(node: ir.Node) -> tuple[ir.Node, list[ir.Node]] | None:
    """Return the convolution over blocks of pixels before a node, and the changes of layout between the two."""
    way: list[ir.Node] = []
    value = node.inputs[0]
    for op in ("Transpose", "Reshape", "Transpose"):
        step = g.maker(value)
        if step is None or step.op_type != op:
            return None
        way.append(step)
        value = step.inputs[0]
    conv = g.maker(value)
    outwards, inwards = (g.ints(way[index], "perm", []) for index in (0, 2))
    if conv is None or conv.op_type != "Conv" or outwards != _TO_FRONT or inwards != _TO_LAST:
        return None
    return (conv, way) if _halves_only_the_width(conv, node) else None


def _halves_only_the_width(conv: ir.Node, node: ir.Node) -> bool:
    blocks, pixels = g.static_shape(conv.outputs[0]), g.static_shape(node.outputs[0])
    return blocks[1] == pixels[1] and pixels[2] > blocks[2] and pixels[2] % blocks[2] == 0


def _viewed(place: ir.Node, value: ir.Value, shape: tuple[int, int, int]) -> ir.Value:
    """Return (N, C, H, W) of `shape` (H, W, C) from the same channels-last memory."""
    seen = g.reshaped(place, g.channels_last(place, value), [-1, *shape], "view")
    return g.channels_first(place, seen)


LEAKY_AS_MAXIMUM = Rewrite("leaky ReLU as a maximum", frozenset({"LeakyRelu"}), apply)
