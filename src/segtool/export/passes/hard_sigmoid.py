"""A hard sigmoid or a hard swish that is written out becomes a HardSigmoid.

clip(x + a, 0, b) / b = HardSigmoid(x; 1 / b, a / b), and x clip(x + a, 0, b) / b is x times it. MobileNetV3 has a = 3
and b = 6. That is how Keras computes them, and PyTorch did before its Hardswish: four passes over the map in place of
two, and a sum with a constant, which INT8 leaves in float (`int8.qdq` computes a HardSigmoid in integers).

fcn8-lite with the encoder MobileNetV3 takes 0.92 of the time in FP32 and 0.86 in INT8 (benchmarks/rewrites.py).

Products in another order: within rounding. Refuses steps that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a product with the constant 1 / b, or a quotient by b."""
    found = factor(node)
    inner = None if found is None else g.maker(found[0])
    if found is None or inner is None:
        return None
    slope = found[1]
    clip, x = (inner, None) if inner.op_type == "Clip" else _gated(inner)
    source = _clipped(clip, slope)
    if clip is None or source is None:
        return None
    added = clip.inputs[0]
    g.require_sole_users(*(value for value in (added, clip.outputs[0], inner.outputs[0]) if value is not None))
    value = g.insert(node, "HardSigmoid", [source[0]], alpha=slope, beta=source[1] * slope)
    g.bypass(node, value if x is None else g.insert(node, "Mul", [x, value]))
    return f"slope {slope:.3g}{'' if x is None else ', times a map'}"


def factor(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Return the other side and the number of a product with one number, or a quotient by one."""
    found = g.with_constant(node)
    if found is None or found[1].size != 1 or (found[2] == 0 and node.op_type == "Div"):
        return None
    number = float(found[1].item())
    if node.op_type == "Mul":
        return found[0], number
    return (found[0], 1 / number) if number else None


def _gated(node: ir.Node) -> tuple[ir.Node | None, ir.Value | None]:
    """Return the Clip that a product has on one side, and the other side."""
    makers = [g.maker(value) for value in node.inputs] if node.op_type == "Mul" else []
    for index, found in enumerate(makers):
        if found is not None and found.op_type == "Clip":
            return found, node.inputs[1 - index]
    return None, None


def _clipped(clip: ir.Node | None, slope: float) -> tuple[ir.Value, float] | None:
    """Return x and a of clip(x + a, 0, b), where b times the slope is 1."""
    if clip is None or len(clip.inputs) != 3:
        return None
    low, high = (g.array(value) for value in clip.inputs[1:])
    added = g.maker(clip.inputs[0])
    if low is None or high is None or added is None or added.op_type != "Add":
        return None
    found = g.with_constant(added)
    if found is None or any(item.size != 1 for item in (found[1], low, high)):
        return None
    if low.item() != 0 or abs(high.item() * slope - 1) > 1e-6:
        return None
    return found[0], float(found[1].item())


HARD_SIGMOID = Rewrite("hard sigmoid", frozenset({"Mul", "Div"}), apply)
