"""The scaling of pixels that a network does itself, read from the first operations of its graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from segtool.array_types import AnyArray
from segtool.export.network.scaling import IMAGENET_MEAN, RAW, UNIT, InputScale

_PASSING = frozenset({"Cast", "Transpose", "Identity", "Pad", "Reshape", "Squeeze", "Unsqueeze", "Add", "Sub"})
# A network sees numbers of about -3..3. A factor that brings 0..255 there is at most this, and one that brings 0..1
# there at least that.
_FROM_BYTES, _FROM_UNIT = 1 / 16, 1.0


def scale_inside(graph: onnx.ModelProto) -> InputScale | None:
    """Return the scaling that is left to do in front of a graph; None if its first operations do not show it.

    A graph whose first multiplication is by 1/255 or so takes raw pixels; one whose first is by 1 to 10 (as a division
    by a deviation of 0.2) takes pixels of 0..1.
    """
    factor, is_bgr = _first_operations(graph.graph)
    if factor is None or factor == 0:
        return None
    if factor <= _FROM_BYTES:
        return InputScale("0/1:bgr", order="bgr") if is_bgr else RAW
    if factor < _FROM_UNIT:
        return None
    return InputScale("0/255:bgr", std=(255.0,), order="bgr") if is_bgr else UNIT


def _first_operations(graph: onnx.GraphProto) -> tuple[float | None, bool]:
    """Return the factor that the pixels are multiplied by at first, and whether ImageNet's mean is taken off in BGR.

    The factor is the median of those of the channels; None without a multiplication.
    """
    constants = {item.name: item for item in graph.initializer}
    tensor, factor, is_scaled, is_bgr = graph.input[0].name, 1.0, False, False
    while True:
        node = next((item for item in graph.node if tensor in item.input), None)
        if node is None or node.op_type not in _PASSING | {"Mul", "Div"}:
            return (factor if is_scaled else None), is_bgr
        other = next((name for name in node.input if name != tensor), tensor)
        if node.op_type in ("Add", "Sub") and other in constants:
            is_bgr = is_bgr or _is_bgr(numpy_helper.to_array(constants[other]))
        if node.op_type in ("Mul", "Div"):
            if other not in constants or (node.op_type == "Div" and node.input[0] != tensor):
                return (factor if is_scaled else None), is_bgr
            number = float(np.median(np.abs(numpy_helper.to_array(constants[other]))))
            factor, is_scaled = (factor * number if node.op_type == "Mul" else factor / number), True
        tensor = node.output[0]


def _is_bgr(offsets: AnyArray) -> bool:
    """Return whether offsets of three channels are ImageNet's mean, in any unit, in reversed order."""
    if offsets.size != 3 or not np.abs(offsets).min():
        return False
    shares = np.abs(offsets.reshape(3)) / np.abs(offsets).sum()
    expected = np.array(IMAGENET_MEAN[::-1]) / sum(IMAGENET_MEAN)
    return bool(np.abs(shares - expected).max() < 0.003)
