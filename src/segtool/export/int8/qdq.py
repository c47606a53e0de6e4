"""QuantizeLinear and DequantizeLinear nodes around the convolutions that INT8 computes.

A value x is scale (q - zero_point). Activations have one scale a map, weights one an output channel with zero point
0, biases the product of both in 32 bits. Pixels are integers already: scale 1, zero point 0, no QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from segtool.array_types import AnyArray
from segtool.export.int8.layers import Points, points, range_source
from segtool.export.passes import graph as g
from segtool.export.passes import to_ir, to_onnx

_LARGEST_BIAS = 2.0**30  # leaves room for the sum of the products in 32 bits


@dataclass(frozen=True)
class Integers:
    """Which integers: signed activations or unsigned, and the largest weight (127, or 64 where sums are in 16 bits)."""

    signed: bool = False
    largest_weight: int = 127


def parameters(low: float, high: float, *, signed: bool) -> tuple[np.float32, AnyArray]:
    """Return the scale and the zero point (a 0-d int8 or uint8) of a range that holds 0.

    Raises
    ------
    ValueError
        The range does not hold 0, or is not finite.
    """
    if not low <= 0 <= high or not np.isfinite([low, high]).all():
        raise ValueError(f"the range {low} to {high} does not hold 0")
    scale = np.float32(max((high - low) / 255, float(np.finfo(np.float32).tiny)))
    if low == high:
        scale = np.float32(1)
    point = int(np.clip(np.rint(-low / float(scale)), 0, 255)) - (128 if signed else 0)
    return scale, np.array(point, np.int8 if signed else np.uint8)


def quantized_weights(
    weights: AnyArray, bias: AnyArray, scale: float, largest: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return int8 weights (K, C, h, w), their float32 scales (K,), and the int32 bias (K,).

    Parameters
    ----------
    weights, bias
        In float.
    scale
        Of the input.
    largest
        Absolute value of the largest weight.
    """
    reach = np.abs(weights).reshape(len(weights), -1).max(1) / largest
    # A channel of zeros, or one with a huge bias, still needs a scale that its bias fits.
    floor = np.maximum(np.abs(bias) / (scale * _LARGEST_BIAS), float(np.finfo(np.float32).tiny) / min(scale, 1.0))
    scales = np.maximum(reach, floor).astype(np.float32)
    integers = np.clip(np.rint(weights / scales[:, None, None, None]), -largest, largest).astype(np.int8)
    return integers, scales, np.rint(bias / (scales.astype(np.float64) * scale)).astype(np.int32)


def insert_qdq(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    *,
    integers: Integers,
    keep_float: frozenset[str] = frozenset(),
) -> onnx.ModelProto:
    """Return the quantized model.

    Parameters
    ----------
    model
        Float model, not changed.
    ranges
        Of every value in the groups of `points`, for this `keep_float` or for fewer layers in float.
    integers
        Which.
    keep_float
        Names of convolutions to leave in float.
    """
    work = to_ir(model)
    found = points(work.graph, keep_float=keep_float)
    scales = _quantize_values(found, ranges, integers)
    for node in found.convolutions:
        _quantize_weights(node, scales[node], integers)
    work.opset_imports.setdefault("", 18)
    TopologicalSortPass()(work)
    RemoveUnusedNodesPass()(work)
    return to_onnx(work)


def _quantize_values(
    found: Points, ranges: Mapping[str, tuple[float, float]], integers: Integers
) -> dict[ir.Node, float]:
    """Put Q and DQ behind every value of every group; return the scale of the input of each convolution."""
    scale_of: dict[ir.Value, float] = {}
    readers = {node.inputs[0]: node for node in found.convolutions}
    inputs = {node: node.inputs[0] for node in found.convolutions}
    for group in found.groups:
        pixels = is_pixels(group[0])
        scale, point = _group_parameters(group, ranges, integers, pixels=pixels)
        place = readers.get(group[0]) or group[0].uses()[0][0] if group[0].uses() else None
        if place is None:
            continue
        constants = (g.add_constant(place, np.array(scale), "scale"), g.add_constant(place, point, "zero_point"))
        for value in group:
            scale_of[value] = float(scale)
            exact = _reads_float(value, found.convolutions)
            _through_integers(value, constants, straight=not integers.signed and is_pixels(value), exact=exact)
    return {node: scale_of[value] for node, value in inputs.items() if value is not None}


def _group_parameters(
    group: tuple[ir.Value, ...], ranges: Mapping[str, tuple[float, float]], integers: Integers, *, pixels: bool
) -> tuple[np.float32, AnyArray]:
    if pixels:
        return np.float32(1), np.array(-128, np.int8) if integers.signed else np.array(0, np.uint8)
    bounds = [ranges[str(value.name)] for value in range_source(group)]
    low, high = min(item[0] for item in bounds), max(item[1] for item in bounds)
    return parameters(low, high, signed=integers.signed)


def is_pixels(value: ir.Value) -> bool:
    """Say whether a value is raw uint8 pixels as floats."""
    maker = value.producer()
    source = maker.inputs[0] if maker is not None and maker.op_type == "Cast" else None
    return source is not None and source.dtype == ir.DataType.UINT8


def _reads_float(value: ir.Value, convolutions: Collection[ir.Node]) -> frozenset[ir.Node]:
    """Return the float convolutions that read a sum with a constant as it is, before it becomes integers.

    Such a sum is computed in float, so there it is: what reads it saves a step and a rounding. What else makes a map
    makes integers itself, as long as nothing wants its floats.
    """
    maker = value.producer()
    if maker is None or maker.op_type != "Add" or all(g.array(side) is None for side in maker.inputs):
        return frozenset()
    return frozenset(user for user, _ in value.uses() if user.op_type == "Conv" and user not in convolutions)


def _through_integers(
    value: ir.Value, constants: tuple[ir.Value, ir.Value], *, straight: bool, exact: frozenset[ir.Node]
) -> None:
    """Let the users of a value, but those in `exact`, read it from its integers.

    `straight`: it is the Cast of those integers.
    """
    users, maker = tuple(use for use in value.uses() if use[0] not in exact), value.producer()
    if maker is None or not users:
        return
    first = users[0][0]
    source = maker.inputs[0] if straight else g.insert(first, "QuantizeLinear", [value, *constants])
    real = g.insert(first, "DequantizeLinear", [source, *constants])
    real.shape, real.dtype = value.shape, value.dtype
    for user, index in users:
        user.replace_input_with(index, real)


def _quantize_weights(node: ir.Node, scale: float, integers: Integers) -> None:
    weights = g.array(node.inputs[1])
    if weights is None:
        return
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = g.array(node.inputs[2]) if has_bias else np.zeros(len(weights), np.float32)
    if bias is None:
        return
    whole, scales, offsets = quantized_weights(weights, bias, scale, integers.largest_weight)
    _dequantized(node, 1, whole, scales, "weight")
    _dequantized(node, 2, offsets, (scales * np.float32(scale)).astype(np.float32), "bias")


def _dequantized(node: ir.Node, index: int, whole: AnyArray, scales: AnyArray, role: str) -> None:
    points_ = np.zeros(len(whole), whole.dtype)
    names = {"q": whole, "scale": scales, "zero_point": points_}
    inputs = [g.add_constant(node, item, f"{role}_{key}") for key, item in names.items()]
    old = node.inputs[index] if index < len(node.inputs) else None
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, g.insert(node, "DequantizeLinear", inputs, axis=0))
    if old is not None and old.is_initializer() and not old.uses() and node.graph is not None:
        node.graph.initializers.pop(str(old.name))
