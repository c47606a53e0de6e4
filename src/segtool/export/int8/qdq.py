"""QuantizeLinear and DequantizeLinear nodes around the convolutions that INT8 computes.

A value x is scale (q - zero_point). Activations have one scale a map, weights one an output channel with zero point
0, biases the product of both in 32 bits. Pixels are integers already: scale 1, zero point 0, no QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from segtool.array_types import AnyArray
from segtool.benchmark.kernels import Convolution, direct_kernel, prefers_amx
from segtool.export.int8.layers import Points, points, range_source
from segtool.export.int8.weighted_layers import convolution, dense
from segtool.export.passes import Refused, to_ir, to_onnx
from segtool.export.passes import graph as g
from segtool.export.passes.pixel_scaling import scaled_pixels
from segtool.export.presets import Preset
from segtool.models.quantization import scale_and_zero_point

_AMX = direct_kernel(("avx2", "avx512f", "avx512bw", "avx512vl", "amx_tile", "amx_int8"), "x86_64")
_LARGEST_BIAS = 2.0**30  # leaves room for the sum of the products in 32 bits


def parameters(low: float, high: float, *, signed: bool) -> tuple[np.float32, AnyArray]:
    """Return the scale and the zero point (a 0-d int8 or uint8) of a range, as `scale_and_zero_point`."""
    scale, point = scale_and_zero_point(low, high)
    return np.float32(scale), np.array(point - 128 if signed else point, np.int8 if signed else np.uint8)


def quantized_weights(
    weights: AnyArray, bias: AnyArray, scale: float, largest: int
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Return int8 weights (K, ...), their float32 scales (K,), and the int32 bias (K,).

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
    each = scales.reshape(-1, *[1] * (weights.ndim - 1))
    integers = np.clip(np.rint(weights / each), -largest, largest).astype(np.int8)
    return integers, scales, np.rint(bias / (scales.astype(np.float64) * scale)).astype(np.int32)


def insert_qdq(
    model: onnx.ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    *,
    preset: Preset,
    keep_float: frozenset[str] = frozenset(),
) -> onnx.ModelProto:
    """Return the quantized model.

    Parameters
    ----------
    model
        Float model, not changed.
    ranges
        Of every value in the groups of `points`, for this `keep_float` or for fewer layers in float.
    preset
        Which integers.
    keep_float
        Names of convolutions to leave in float.
    """
    work = to_ir(model)
    found = points(work.graph, keep_float=keep_float)
    scales = _quantize_values(found, ranges, preset)
    for node in found.layers:
        _quantize_weights(node, scales[node], preset)
    for node in tuple(work.graph):
        _hard_sigmoid_by_clip(node)
    work.opset_imports.setdefault("", 18)
    TopologicalSortPass()(work)
    RemoveUnusedNodesPass()(work)
    return to_onnx(work)


def _quantize_values(found: Points, ranges: Mapping[str, tuple[float, float]], preset: Preset) -> dict[ir.Node, float]:
    """Put Q and DQ behind every value of every group; return the scale of the input of each convolution."""
    scale_of: dict[ir.Value, float] = {}
    readers = {node.inputs[0]: node for node in found.layers}
    inputs = {node: node.inputs[0] for node in found.layers}
    for group in found.groups:
        scale, point = _group_parameters(group, ranges, preset)
        place = readers.get(group[0]) or group[0].uses()[0][0] if group[0].uses() else None
        if place is None:
            continue
        constants = (g.add_constant(place, np.array(scale), "scale"), g.add_constant(place, point, "zero_point"))
        for value in group:
            scale_of[value] = float(scale)
            pixels = None if preset.signed_activations else _pixels(value)
            source = None if pixels is None else pixels[0]
            _through_integers(value, constants, source=source, exact=reads_float(value, found.layers))
    return {node: scale_of[value] for node, value in inputs.items() if value is not None}


def _group_parameters(
    group: tuple[ir.Value, ...], ranges: Mapping[str, tuple[float, float]], preset: Preset
) -> tuple[np.float32, AnyArray]:
    pixels, signed = _pixels(group[0]), preset.signed_activations
    if pixels is not None:
        return np.float32(1), np.array(pixels[1] - 128, np.int8) if signed else np.array(pixels[1], np.uint8)
    bounds = [ranges[str(value.name)] for value in range_source(group)]
    low, high = min(item[0] for item in bounds), max(item[1] for item in bounds)
    return parameters(low, high, signed=signed)


def _pixels(value: ir.Value) -> tuple[ir.Value, int] | None:
    """Return the uint8 pixels that a value is as floats, maybe less one of them, and the pixel that it takes as 0."""
    found = scaled_pixels(value)
    point = found.zero_point if found is not None and (found.factor == 1).all() else None
    return None if found is None or point is None else (found.source, point)


def is_pixels(value: ir.Value) -> bool:
    """Say whether a value is raw uint8 pixels as floats, maybe less one of them."""
    return _pixels(value) is not None


def reads_float(value: ir.Value, convolutions: Collection[ir.Node]) -> frozenset[ir.Node]:
    """Return the float convolutions that read a sum with a constant as it is, before it becomes integers.

    Such a sum is computed in float, so there it is: what reads it saves a step and a rounding. What else makes a map
    makes integers itself, as long as nothing wants its floats.
    """
    maker = value.producer()
    if maker is None or maker.op_type != "Add" or all(g.array(side) is None for side in maker.inputs):
        return frozenset()
    return frozenset(user for user, _ in value.uses() if user.op_type == "Conv" and user not in convolutions)


def _through_integers(
    value: ir.Value, constants: tuple[ir.Value, ir.Value], *, source: ir.Value | None, exact: frozenset[ir.Node]
) -> None:
    """Let the users of a value, but those in `exact`, read it from its integers: from `source`, where it has them."""
    users = tuple(use for use in value.uses() if use[0] not in exact)
    if value.producer() is None or not users:
        return
    first = users[0][0]
    whole = g.insert(first, "QuantizeLinear", [value, *constants]) if source is None else source
    real = g.insert(first, "DequantizeLinear", [whole, *constants])
    real.shape, real.dtype = value.shape, value.dtype
    for user, index in users:
        user.replace_input_with(index, real)


def aligned_ranges(model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Return ranges whose integers have the ends of a HardSigmoid among them, where one reads the values.

    They are a little larger: 1 to 3 % on MobileNetV3.
    """
    found = dict(ranges)
    for group in points(to_ir(model).graph).groups:
        halves = {_half_width(user) for value in group for user, _ in value.uses()} - {0.0}
        names = [str(value.name) for value in range_source(group)]
        if len(halves) == 1 and found.keys() >= set(names):
            half = halves.pop()
            low, high = min(-half, *(found[name][0] for name in names)), max(found[name][1] for name in names)
            scale = half / max(1, int(255 * half / (high - low)))
            found |= dict.fromkeys(names, (low, low + 255 * scale))
    return found


def _half_width(node: ir.Node) -> float:
    """Return the h of a HardSigmoid that ends at -h and h; 0 for other nodes."""
    slope = node.attributes.get_float("alpha", 0.2) if node.op_type == "HardSigmoid" else 0.0
    return 0.5 / slope if slope > 0 and node.attributes.get_float("beta", 0.5) == 0.5 else 0.0


def _hard_sigmoid_by_clip(node: ir.Node) -> None:
    """Compute max(0, min(1, x / 2h + 1/2)) of the integers of x, which it makes integers too, by clipping them.

    Where h is n steps of x, its ends are the integers z - n and z + n. Clipped to these and read with the zero point
    z - n and the scale 1 / 2n, the integers of x are those of the function. onnxruntime has no integer kernel for
    HardSigmoid; a Clip takes a sixth of the time of a product. Refuses a scale that was trained and has no such n.
    """
    half, real = _half_width(node), g.maker(node.inputs[0])
    is_read = any(user.op_type == "QuantizeLinear" for user, _ in node.outputs[0].uses())
    if not (half and is_read) or real is None or real.op_type != "DequantizeLinear":
        return
    scale, zero = g.array(real.inputs[1]), g.array(real.inputs[2])
    if scale is None or zero is None:
        return
    steps, limits = round(half / float(scale)), np.iinfo(zero.dtype)
    lowest, highest = int(zero) - steps, min(int(zero) + steps, limits.max)
    if abs(half / float(scale) - steps) > 1e-3 or lowest < limits.min:
        return
    ends = [g.add_constant(node, np.array(end, zero.dtype), name) for end, name in ((lowest, "low"), (highest, "high"))]
    clipped = g.insert(node, "Clip", [real.inputs[0], *ends])
    read = g.insert(
        node, "DequantizeLinear", [clipped, g.add_constant(node, np.array(0.5 / steps, np.float32), "scale"), ends[0]]
    )
    g.bypass(node, _read_once(node, read))


def _read_once(node: ir.Node, value: ir.Value) -> ir.Value:
    """Let what reads a node's integers read a value, which is made of integers already."""
    for quantized in [user for user, _ in node.outputs[0].uses() if user.op_type == "QuantizeLinear"]:
        for real in [user for user, _ in quantized.outputs[0].uses()]:
            real.outputs[0].replace_all_uses_with(value)
    return value


def _quantize_weights(node: ir.Node, scale: float, preset: Preset) -> None:
    """Quantize the weights and the bias of a layer; onnxruntime makes a dense one a QGemm with floats out."""
    layer = dense(node) or convolution(node)
    if layer is None:
        return
    whole, scales, offsets = quantized_weights(layer.weights, layer.bias, scale, preset.largest_weight)
    # onnxruntime makes a convolution a product of matrices where the zero point of its weights is not 0; w - 1 with
    # zero point -1 is the same number.
    point = -1 if preset.matrix_products and _is_faster_by_amx(node, layer.weights) else 0
    kept = whole + np.int8(point) if layer.channel_axis == 0 else whole.T
    _dequantized(node, 1, kept, scales, "weight", axis=layer.channel_axis, point=point)
    _dequantized(layer.adder, layer.side, offsets, (scales * np.float32(scale)).astype(np.float32), "bias")


def _is_faster_by_amx(node: ir.Node, weights: AnyArray) -> bool:
    if node.op_type != "Conv":
        return False
    outputs, inputs, *taps = weights.shape
    groups = node.attributes.get_int("group", 1)
    try:
        _, height, width = g.static_shape(node.outputs[0])
    except Refused:
        return False
    sizes = Convolution(inputs, outputs // groups, groups=groups, taps=int(np.prod(taps)))
    return prefers_amx(sizes, _AMX, positions=height * width)


def _dequantized(
    node: ir.Node, index: int, whole: AnyArray, scales: AnyArray, role: str, *, axis: int = 0, point: int = 0
) -> None:
    points_ = np.full(len(scales), point, whole.dtype)
    names = {"q": whole, "scale": scales, "zero_point": points_}
    inputs = [g.add_constant(node, item, f"{role}_{key}") for key, item in names.items()]
    g.set_input(node, index, g.insert(node, "DequantizeLinear", inputs, axis=axis))
