"""Dense layers: what INT8 computes of a network of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g


@dataclass(frozen=True)
class Dense:
    """A dense layer: a product with a constant matrix, and a constant added to it.

    Attributes
    ----------
    weights
        float (K, C), the output channels first.
    channel_axis
        The axis of the output channels in the matrix that the graph holds.
    bias
        float (K,).
    adder, side
        The node that adds the bias, and which of its inputs that is.
    """

    weights: AnyArray
    channel_axis: int
    bias: AnyArray
    adder: ir.Node
    side: int


def dense(node: ir.Node) -> Dense | None:
    """Return the dense layer that a Gemm is, or a MatMul with an Add behind it; None of other nodes."""
    matrix = g.array(node.inputs[1]) if node.op_type in ("Gemm", "MatMul") else None
    if matrix is None or matrix.ndim != 2 or g.array(node.inputs[0]) is not None:
        return None
    axis, adder, side = 1, node, 2
    if node.op_type == "Gemm":
        factors = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
        if factors != [1.0, 1.0] or node.attributes.get_int("transA", 0) or len(node.inputs) < 3:
            return None
        axis = 0 if node.attributes.get_int("transB", 0) else 1
    else:
        users = [user for user, _ in node.outputs[0].uses()]
        if len(users) != 1 or users[0].op_type != "Add":
            return None
        adder, side = users[0], 1 if users[0].inputs[0] is node.outputs[0] else 0
    bias, weights = g.array(adder.inputs[side]), matrix if axis == 0 else matrix.T
    return Dense(weights, axis, bias, adder, side) if bias is not None and bias.shape == weights.shape[:1] else None
