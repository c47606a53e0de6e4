"""Additions of 0, multiplications by 1, resizing to the same size and maps without channels are dropped.

x + 0 = x and 1 x = x for every finite x and infinity (x = -0 becomes +0, which no later operation here distinguishes).
Keras's Rescaling always adds its offset, which is mostly 0. PyTorch's `interpolate` resizes maps that have the size
already. Encoders of timm that begin at a quarter of the image's sides have a first map of no channels in
segmentation-models-pytorch, which a decoder concatenates; no range can be found of it.
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
    if node.op_type == "Concat":
        return _drop_empty(node)
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


def _drop_empty(node: ir.Node) -> str | None:
    axis = node.attributes.get_int("axis", 0)
    maps = [value for value in node.inputs if value is not None]
    kept = [value for value in maps if value.shape is None or value.shape[axis] != 0]
    if len(kept) in (0, len(maps)):
        return None
    g.bypass(node, kept[0] if len(kept) == 1 else g.insert(node, "Concat", kept, axis=axis))
    return f"{len(maps) - len(kept)} of {len(maps)} parts without channels dropped"


NO_OP = Rewrite("neutral operation dropped", frozenset({*_NEUTRAL, "Resize", "Concat"}), apply)
