"""A 1x1 convolution in float that reads an INT8 map becomes a matrix product over the channels of each pixel.

y[n, k, h, w] = sum_c W[k, c] x[n, c, h, w] + b[k]: with the channels last, (N, h, w, C) x (C, K).

INT8 maps are channels-last in onnxruntime, its float convolutions want blocks of channels. Such a convolution, as
those that score the classes are, has its input put into rows, then into blocks, and its output out of them again. The
matrix product takes the map as it is, and what is turned around is K numbers a pixel in place of C.

On fcn8 (64 x 84, Zen 4), the three score layers, in runs apart: 0.996 to 1.000 of the whole file's time on one
thread, 0.988 to 0.994 on two; with the shifted maps read in float (`int8.qdq`) 0.993 to 0.997, and 0.977 to 0.989.

The sums are the same in another order: within rounding. Leaves alone maps that are not integers on either side, and
convolutions of as many channels out as in. Refuses strides, padding, groups and a computed bias.
"""

from __future__ import annotations

import onnx_ir as ir

from segtool.export.passes import graph as g
from segtool.export.passes.rewrite import Refused, Rewrite


def apply(node: ir.Node) -> str | None:
    """Rewrite a 1x1 convolution with float weights on a map that is quantized too."""
    weights, value = g.array(node.inputs[1]), node.inputs[0]
    if value is None or weights is None or weights.ndim != 4 or weights.shape[2:] != (1, 1):
        return None
    if not _is_quantized(value) or weights.shape[0] >= weights.shape[1]:
        return None
    if node.attributes.get_int("group", 1) != 1:
        raise Refused("it has groups")
    if any(g.explicit_pads(node)) or g.ints(node, "strides", [1, 1]) != [1, 1]:
        raise Refused("it has strides or padding")
    bias = g.constant_bias(node)
    last = g.channels_last(node, value)
    scores = g.insert(node, "MatMul", [last, g.add_constant(node, weights[:, :, 0, 0].T, "matrix")])
    if bias is not None:
        scores = g.insert(node, "Add", [scores, g.add_constant(node, bias, "bias")])
    g.bypass(node, g.channels_first(node, scores))
    return f"{weights.shape[1]} channels x {weights.shape[0]} scores"


def _is_quantized(value: ir.Value) -> bool:
    """Say whether a float map comes from integers, or is made into integers for others."""
    maker = value.producer()
    return (maker is not None and maker.op_type == "DequantizeLinear") or any(
        user.op_type == "QuantizeLinear" for user, _ in value.uses()
    )


SCORES_BY_PIXELS = Rewrite("scores by pixels", frozenset({"Conv"}), apply)
