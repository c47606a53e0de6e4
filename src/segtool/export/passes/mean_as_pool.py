"""A mean over all rows and columns becomes a global average pooling, which has an integer kernel. Exact."""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a ReduceMean of a (N, C, H, W) map over its last two axes that keeps them."""
    value = node.inputs[0]
    if value is None or value.shape is None or len(value.shape) != 4 or not node.attributes.get_int("keepdims", 1):
        return None
    given = g.array(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = list(given.reshape(-1)) if given is not None else g.ints(node, "axes", [])
    if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        return None
    g.bypass(node, g.insert(node, "GlobalAveragePool", [value]))
    return "as a global average pooling"


MEAN_AS_POOL = Rewrite("mean as pooling", frozenset({"ReduceMean"}), apply)
