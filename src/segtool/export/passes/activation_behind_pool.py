"""A monotone activation moves behind the max pooling, where there are fewer elements (a quarter for 2x2).

max(f(a), f(b)) = f(max(a, b)) for every f that never decreases. Exact bit for bit: rounding is monotone too.

It pays in INT8 alone, where an activation is a pass over memory of its own; in float onnxruntime computes it inside
the convolution (`INT8_REWRITES`). Refuses an activation that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Swap a MaxPool with the activation in front of it."""
    value = node.inputs[0]
    before = g.maker(value)
    if value is None or before is None or len(node.outputs) != 1:
        return None
    if before.op_type in ("LeakyRelu", "Elu") and not g.is_monotone(before):
        raise Refused(f"{before.name} decreases somewhere")
    if not g.is_monotone(before):
        return None
    g.sole_user(value)
    g.bypass(node, g.copied(node, before, g.copied(node, node, before.inputs[0])))
    return f"{before.op_type} behind the pooling"


ACTIVATION_BEHIND_POOL = Rewrite("activation behind pooling", frozenset({"MaxPool"}), apply)
