"""A scalar factor in front of a convolution moves into its weights.

conv(c x, W) = conv(x, c W), because a convolution is linear; a padding of zeros between the two stays zero, c 0 = 0.
So the 1/255 of the input costs nothing, and INT8 can take the pixels as they are: a tensor with scale 1.

Re-associates products: within rounding. Refuses a factor that others use too, and weights that are shared.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Move the constant of a Mul or Div by one number into the convolution behind it."""
    found = factor(node)
    if found is None:
        return None
    value, number = found
    user = g.sole_user(node.outputs[0])
    if user.op_type != "Conv":
        return None
    if user.inputs[0] is not node.outputs[0]:
        raise Refused("it scales the weights of the convolution, not its input")
    weights = g.own_array(user.inputs[1], "weight")
    scaled = (weights.astype(np.float64) * number).astype(weights.dtype)
    if not np.isfinite(scaled).all():
        raise Refused("the scaled weights are not finite")
    g.set_constant(user, 1, scaled, "weight")
    g.bypass(node, value)
    return f"factor {number:g} in the weights of {user.name}"


def factor(node: ir.Node) -> tuple[ir.Value, float] | None:
    """Return the other side and the number of a product with one number, or a quotient by one; None of another node."""
    found = g.with_constant(node) if node.op_type in ("Mul", "Div") else None
    if found is None or found[1].size != 1 or (found[2] == 0 and node.op_type == "Div"):
        return None
    number = float(found[1].item())
    if node.op_type == "Mul":
        return found[0], number
    return (found[0], 1 / number) if number else None


SCALE_INTO_CONV = Rewrite("scalar factor into convolution", frozenset({"Mul", "Div"}), apply)
