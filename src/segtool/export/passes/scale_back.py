"""The scale of a batch normalization moves back into the convolution before it.

With s > 0 a number a channel, s max(x) = max(s x), s relu(x) = relu(s x) and s leaky(x) = leaky(s x), because a
positive factor keeps the order and the sign. So s pool(act(W * x + b)) = pool(act((s W) * x + s b)). Directly behind
a convolution s may have any sign. What stays of the normalization is its shift. A transposed convolution is as linear.

Re-associates products: within rounding. Refuses a scale <= 0 where an activation or pooling is between, shared
weights, and values on the way that others use too or that the graph returns.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Move the per-channel constant of a Mul into the convolution that its input comes from."""
    found = g.per_channel(node)
    if found is None:
        return None
    value, scale = found
    way, conv = _way_back(value)
    if conv is None or conv.op_type not in ("Conv", "ConvTranspose"):
        return None
    g.require_sole_users(value, *(step.inputs[0] for step in way))
    if way and not (scale > 0).all():
        raise Refused("its scale is not positive in every channel")
    weights = g.own_array(conv.inputs[1], "weight")
    factor = scale.astype(np.float64)[g.output_channels(conv, weights)]
    bias = g.own_bias(conv)
    g.set_constant(conv, 1, (weights * factor).astype(weights.dtype), "weight")
    if bias is not None:
        g.set_constant(conv, 2, (bias * scale.astype(np.float64)).astype(bias.dtype), "bias")
    g.bypass(node, value)
    return f"{len(scale)} factors in the weights of {conv.name}"


def _way_back(value: ir.Value) -> tuple[list[ir.Node], ir.Node | None]:
    """Return the poolings and activations between a value and the node they start from."""
    way: list[ir.Node] = []
    node = value.producer()
    while node is not None and node.op_type in g.HOMOGENEOUS and len(node.outputs) == 1 and node.inputs[0] is not None:
        way.append(node)
        node = node.inputs[0].producer()
    return way, node


SCALE_BACK = Rewrite("normalization's scale into convolution", frozenset({"Mul"}), apply)
