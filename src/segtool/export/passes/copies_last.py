"""A nearest-neighbour upsampling moves behind what treats each pixel alone, where there are fewer pixels.

Let U write each pixel a x b times. For an element-wise function f(U(x)) = U(f(x)), and for a sum
U(x) + U(y) = U(x + y): a quarter of the numbers for 2x2. Where both sides are upsampled by different factors, the
common one moves. Two upsamplings are one, U(V(x)) = (U V)(x). What is behind is mostly a convolution, which then reads
the upsampling (`conv_before_resize`, `conv_before_copies`).

Exact bit for bit. A function is moved where a convolution reads it, a sum where nothing else reads its sides.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.resizes import copies
from segtool.export.passes.rewrite import Refused, Rewrite

_ATTRIBUTES = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def apply(node: ir.Node) -> str | None:
    """Move the upsampling in front of an activation, a sum or another upsampling behind it."""
    if node.op_type == "Resize":
        return _merged(node)
    if node.op_type == "Add":
        return _sum(node)
    maker = g.maker(node.inputs[0])
    counts = None if maker is None else copies(maker)
    users = {user.op_type for user, _ in node.outputs[0].uses()}
    if maker is None or counts is None or users != {"Conv"} or node.outputs[0].is_graph_output():
        return None
    g.bypass(node, _upsampled(node, g.copied(node, node, maker.inputs[0]), counts))
    return f"{node.op_type} of the small map"


def _merged(node: ir.Node) -> str | None:
    maker = g.maker(node.inputs[0])
    if maker is None or maker.op_type != "Resize":
        return None
    inner, outer = copies(maker), copies(node)
    if inner is None or outer is None:
        return None
    g.bypass(node, _upsampled(node, maker.inputs[0], (inner[0] * outer[0], inner[1] * outer[1])))
    return "two upsamplings are one"


def _sum(node: ir.Node) -> str | None:
    makers = [maker for value in node.inputs if value is not None and (maker := value.producer()) is not None]
    counts = [found for maker in makers if (found := copies(maker)) is not None]
    if len(counts) != 2 or node.inputs[0] is node.inputs[1]:
        return None
    common = min(counts)
    if any(count % one for each in counts for count, one in zip(each, common, strict=True)):
        raise Refused(f"its sides are upsampled by {counts[0]} and {counts[1]}")
    for maker in makers:
        g.sole_user(maker.outputs[0])
    sides = [
        _upsampled(node, maker.inputs[0], (each[0] // common[0], each[1] // common[1]))
        for maker, each in zip(makers, counts, strict=True)
    ]
    g.bypass(node, _upsampled(node, g.insert(node, "Add", sides), common))
    return "sum of the small maps"


def _upsampled(place: ir.Node, value: ir.Value | None, counts: tuple[int, int]) -> ir.Value | None:
    if counts == (1, 1):
        return value
    scales = g.add_constant(place, np.array([1, 1, *counts], np.float32), "scales")
    return g.insert(place, "Resize", [value, None, scales], **_ATTRIBUTES)


COPIES_LAST = Rewrite("nearest-neighbour upsampling last", g.ACTIVATIONS | {"Add", "Resize"}, apply)
