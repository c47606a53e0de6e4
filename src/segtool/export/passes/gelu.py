"""A GELU that is written out becomes one Gelu.

x (1 + erf(x / sqrt(2))) / 2 is what Gelu computes: Hendrycks, Gimpel: Gaussian Error Linear Units (2016). Keras writes
x (1 - erf(-x / sqrt(2))) / 2. onnxruntime finds the form of PyTorch in float, but not behind integers, where each step
that reads them has a conversion of its own, and it does not find the form of Keras.

Products in another order: within rounding. Gelu is of opset 20, which the file then has. Refuses graphs with a
GridSample, whose modes have other names there.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.hard_sigmoid import factor
from segtool.export.passes.rewrite import Refused, Rewrite

_OPSET = 20
_TOLERANCE = 1e-4  # of 1 / sqrt(2), which some write with five digits


def apply(node: ir.Node) -> str | None:
    """Rewrite the steps around an Erf."""
    scaled = g.maker(node.inputs[0])
    found = factor(scaled) if scaled is not None and scaled.op_type in ("Mul", "Div") else None
    if found is None:
        return None
    x, slope = found
    before, shifted = g.maker(x), g.sole_user(node.outputs[0])
    if before is not None and before.op_type == "Neg" and before.inputs[0] is not None:
        x, slope = before.inputs[0], -slope
    if abs(slope * _sign(shifted) - math.sqrt(0.5)) > _TOLERANCE:
        return None
    last = _last_product(shifted, x)
    if last is None:
        return None
    graph = g.graph_of(node)
    if any(item.op_type == "GridSample" for item in graph):
        raise Refused("the graph has a GridSample of an older opset")
    g.bypass(last, g.insert(last, "Gelu", [x]))
    graph.opset_imports[""] = max(_OPSET, graph.opset_imports[""])
    return "one step in place of five"


def _sign(node: ir.Node) -> int:
    """Return 1 for 1 + erf, -1 for 1 - erf, 0 for anything else."""
    found = g.with_constant(node) if node.op_type in ("Add", "Sub") else None
    if found is None or found[1].size != 1 or found[1].item() != 1:
        return 0
    if node.op_type == "Add":
        return 1
    return -1 if found[2] == 0 else 0


def _last_product(shifted: ir.Node, x: ir.Value) -> ir.Node | None:
    """Return the last of the products with x and 1/2, in any order; None where they are not there."""
    node, missing = shifted, {"x", "half"}
    while missing:
        user = g.sole_user(node.outputs[0])
        others = [value for value in user.inputs if value is not node.outputs[0]]
        found = _factors(others[0], x) if user.op_type == "Mul" and others else set()
        if not found or not found <= missing:
            return None
        node, missing = user, missing - found
    return node


def _factors(value: ir.Value | None, x: ir.Value) -> set[str]:
    """Return which of "x" and "half" a factor is, or both for their product."""
    if value is x:
        return {"x"}
    constant, maker = g.array(value), g.maker(value)
    if constant is not None:
        return {"half"} if constant.size == 1 and constant.item() == 0.5 else set()
    product = factor(maker) if maker is not None and maker.op_type == "Mul" else None
    return {"x", "half"} if product is not None and product == (x, 0.5) else set()


GELU = Rewrite("GELU", frozenset({"Erf"}), apply)
