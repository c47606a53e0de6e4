"""The scaling of pixels that a network does itself, read from the first operations of its graph."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from segtool.export.network.scaling import RAW, SCALES, InputScale

_PASSING = frozenset({"Cast", "Transpose", "Identity", "Pad", "Reshape", "Squeeze", "Unsqueeze", "Add", "Sub"})
# A network sees numbers of about -3..3. A factor that brings 0..255 there is at most this, and one that brings 0..1
# there at least that.
_FROM_BYTES, _FROM_UNIT = 1 / 16, 1.0


def scale_inside(graph: onnx.ModelProto) -> InputScale | None:
    """Return the scaling that is left to do in front of a graph; None if its first operations do not show it.

    A graph whose first multiplication is by 1/255 or so takes raw pixels; one whose first is by 1 to 10 (as a division
    by a deviation of 0.2) takes pixels of 0..1.
    """
    factor = _first_factor(graph.graph)
    if factor is None or factor == 0:
        return None
    if factor <= _FROM_BYTES:
        return RAW
    return next(item for item in SCALES if item.name == "0..1") if factor >= _FROM_UNIT else None


def _first_factor(graph: onnx.GraphProto) -> float | None:
    """Return the factor, as the median of those of the channels, that the pixels are multiplied by at first."""
    constants = {item.name: item for item in graph.initializer}
    tensor, factor, is_scaled = graph.input[0].name, 1.0, False
    while True:
        node = next((item for item in graph.node if tensor in item.input), None)
        if node is None or node.op_type not in _PASSING | {"Mul", "Div"}:
            return factor if is_scaled else None
        if node.op_type in ("Mul", "Div"):
            other = next((name for name in node.input if name != tensor), tensor)
            if other not in constants or (node.op_type == "Div" and node.input[0] != tensor):
                return factor if is_scaled else None
            number = float(np.median(np.abs(numpy_helper.to_array(constants[other]))))
            factor, is_scaled = (factor * number if node.op_type == "Mul" else factor / number), True
        tensor = node.output[0]
