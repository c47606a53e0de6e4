"""Additions of 0 and multiplications by 1 are dropped.

x + 0 = x and 1 x = x for every finite x and infinity (x = -0 becomes +0, which no later operation here distinguishes).
Keras's Rescaling always adds its offset, which is mostly 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}


def apply(node: ir.Node) -> str | None:
    """Drop a node whose constant is neutral, where the constant does not broadcast the other input."""
    sides = (1,) if node.op_type in ("Sub", "Div") else (0, 1)
    for side in sides:
        constant, kept = g.array(node.inputs[side]), node.inputs[1 - side]
        if constant is None or kept is None or g.array(kept) is not None or not _keeps_shape(constant, kept):
            continue
        if np.all(constant == _NEUTRAL[node.op_type]):
            g.bypass(node, kept)
            return f"{node.op_type} of {_NEUTRAL[node.op_type]} dropped"
    return None


def _keeps_shape(constant: AnyArray, kept: ir.Value) -> bool:
    return kept.shape is not None and constant.size == 1 and constant.ndim <= len(kept.shape)


NO_OP = Rewrite("neutral operation dropped", frozenset(_NEUTRAL), apply)
