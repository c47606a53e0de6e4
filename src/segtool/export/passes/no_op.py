"""Additions of 0, multiplications by 1 and resizing to the same size are dropped.

x + 0 = x and 1 x = x for every finite x and infinity (x = -0 becomes +0, which no later operation here distinguishes).
Keras's Rescaling always adds its offset, which is mostly 0. PyTorch's `interpolate` resizes maps that have the size
already.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.resizes import mixes_alike
from segtool.export.passes.rewrite import Rewrite

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def apply(node: ir.Node) -> str | None:
    """Drop a node whose constant is neutral, where the constant does not broadcast the other input."""
    if node.op_type == "Resize":
        return _drop_resize(node)
    found = g.with_constant(node)
    if found is None or (found[2] == 0 and node.op_type in ("Sub", "Div")):
        return None
    kept, constant, _ = found
    keeps_shape = kept.shape is not None and constant.size == 1 and constant.ndim <= len(kept.shape)
    if not keeps_shape or constant.item() != _NEUTRAL[node.op_type]:
        return None
    g.bypass(node, kept)
    return f"{node.op_type} of {_NEUTRAL[node.op_type]} dropped"


def _drop_resize(node: ir.Node) -> str | None:
    value = node.inputs[0]
    if value is None or not mixes_alike(node) or g.static_shape(value) != g.static_shape(node.outputs[0]):
        return None
    g.bypass(node, value)
    return "Resize to the same size dropped"


NO_OP = Rewrite("neutral operation dropped", frozenset({*_NEUTRAL, "Resize"}), apply)
