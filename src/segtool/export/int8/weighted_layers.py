"""Layers with constant weights: convolutions, and the dense layers of a network of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g


@dataclass(frozen=True)
class Layer:
    """Sums of products with constant weights, and a constant added to them.

    Attributes
    ----------
    weights
        float (K, C, h, w) of a convolution, (K, C) of a dense layer: the output channels first.
    channel_axis
        The axis of the output channels in the constant that the graph holds.
    bias
        float (K,); zeros where a convolution has none.
    adder, side
        The node that adds the bias, and which of its inputs that is.
    """

    weights: AnyArray
    channel_axis: int
    bias: AnyArray
    adder: ir.Node
    side: int


def convolution(node: ir.Node) -> Layer | None:
    """Return the layer that a Conv of constants is; None of other nodes."""
    weights = g.array(node.inputs[1]) if node.op_type == "Conv" else None
    if weights is None:
        return None
    bias = np.zeros(len(weights), np.float32) if g.bias(node) is None else g.array(g.bias(node))
    return None if bias is None else Layer(weights, 0, bias, node, 2)


def dense(node: ir.Node) -> Layer | None:
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
    return Layer(weights, axis, bias, adder, side) if bias is not None and bias.shape == weights.shape[:1] else None
