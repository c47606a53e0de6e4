"""A matrix product of pixels moves into the 1x1 convolution of its map.

With nothing but a change of layout between them, both multiply the channels of each pixel: (x V + a) W + b =
x (V W) + (a W + b). From C channels to K and on to L, C L products a pixel take the place of C K + K L, and the
layout of C channels is changed in place of K. Such is the head of SegFormer once each of its maps is multiplied at
its own size (`conv_before_resize`): 32, 64, 160 and 256 channels become 256, and these 256 others. The sum of the
upsampled maps is then in onnxruntime's blocked layout, whose linear Resize takes a third of the time.

SegFormer-B0 at 256 x 256, FP32, one thread of an AMD EPYC: 0.56 of the time with `conv_before_resize` and the
convolutions merged into the products, 0.47 with the products merged into the convolutions.

The sums are the same in another order: within rounding. Refuses a map that others read, and where it would take more
products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


@dataclass(frozen=True)
class _Step:
    """A node, and the axis of the channels behind it."""

    node: ir.Node
    axis: int


def apply(node: ir.Node) -> str | None:
    """Merge a 1x1 convolution of a product's map with that product."""
    weights, bias = g.array(node.inputs[1]), g.array(g.bias(node))
    steps = _steps(node.inputs[0])
    if steps is None or weights is None or weights.shape[2:] != (1, 1) or not g.is_pointwise(node):
        return None
    product, layout = steps[0].node, steps[1:]
    first, before = (g.array(value) for value in product.inputs[1:])
    if first is None or before is None or (bias is None and len(node.inputs) > 2):
        return None
    first = first.T if product.attributes.get_int("transB", 0) else first
    between, outputs = weights.shape[1], len(weights)
    if len(first) * outputs > len(first) * between + between * outputs:
        raise Refused(f"from {len(first)} to {outputs} channels takes more products than by way of {between}")
    g.require_sole_users(*(step.node.outputs[0] for step in steps))
    matrix = weights.reshape(outputs, between).astype(np.float64)
    shift = matrix @ before + (0 if bias is None else bias)
    value = product.inputs[0]
    for step in layout:
        value = _repeated(node, step, value, len(first))
    merged = (matrix @ first.T).reshape(outputs, -1, 1, 1)
    constants = [g.add_constant(node, np.asarray(item, weights.dtype), "merged") for item in (merged, shift)]
    g.bypass(node, g.insert(node, "Conv", [value, *constants], kernel_shape=[1, 1]))
    return f"{len(first)} to {between} to {outputs} channels in one convolution"


def _steps(value: ir.Value | None) -> list[_Step] | None:
    """Return a product of pixels (N P, K) and the steps from it to a map (N, K, H, W); None of another value."""
    found: list[_Step] = []
    axis = 1
    while (node := g.maker(value)) is not None:
        found.insert(0, _Step(node, axis))
        value = node.inputs[0]
        if node.op_type == "Gemm":
            return found if _is_product(node) and axis == 1 else None
        if node.op_type == "Transpose":
            axis = g.ints(node, "perm", ())[axis]
        elif node.op_type != "Reshape" or (before := _axis_before(node, axis)) is None:
            return None
        else:
            axis = before
    return None


def _is_product(node: ir.Node) -> bool:
    is_plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    return is_plain and not node.attributes.get_int("transA", 0) and len(node.inputs) == 3


def _axis_before(node: ir.Node, axis: int) -> int | None:
    """Return the axis of the channels in front of a Reshape that leaves them the last, or those behind the batch."""
    before, after = (None if value is None else value.shape for value in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or not isinstance(after[axis], int):
        return None
    is_last = axis == len(after) - 1
    place = len(before) - 1 if is_last else axis
    is_kept = is_last or (axis == 1 and len(before) > 2)
    return place if is_kept and before[place] == after[axis] else None


def _repeated(place: ir.Node, step: _Step, value: ir.Value | None, channels: int) -> ir.Value:
    """Repeat a change of layout for another number of channels."""
    node = step.node
    if node.op_type == "Transpose":
        return g.copied(place, node, value)
    sides = [-1, *g.static_shape(node.outputs[0])]
    sides[step.axis] = channels
    return g.reshaped(place, value, sides, "layout")


PRODUCT_INTO_CONV = Rewrite("product into 1x1 convolution", frozenset({"Conv"}), apply)
