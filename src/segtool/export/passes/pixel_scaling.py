"""What a network computes from its uint8 pixels before its first convolution: a x + b a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g

_TOLERANCE = 1e-6  # of a zero point that is a whole number but for the rounding of its constants


@dataclass(frozen=True)
class ScaledPixels:
    """A float (N, C, H, W) map, factor x + shift, of the pixels x of an image.

    Attributes
    ----------
    source
        The image, uint8 (N, H, W, C).
    cast
        The ONNX type of the map.
    factor, shift
        float64 (C,) each.
    """

    source: ir.Value
    cast: int
    factor: AnyArray
    shift: AnyArray

    @property
    def zero_point(self) -> int | None:
        """The pixel, 0..255, that is 0 in every channel, where there is one."""
        points = -self.shift / self.factor
        point = float(np.rint(points[0]))
        found = np.abs(points - point).max() <= _TOLERANCE * max(1.0, point) and 0 <= point <= 255
        return int(point) if found else None


def scaled_pixels(value: ir.Value | None) -> ScaledPixels | None:
    """Return what a value is of the pixels of an image; None of a value that is something else."""
    steps: list[tuple[str, AnyArray, bool]] = []
    while value is not None and (maker := value.producer()) is not None and maker.op_type != "Cast":
        step = _step(maker)
        if step is None:
            return None
        value, operation = step
        steps.append(operation)
    cast = None if value is None else value.producer()
    layout = None if cast is None or cast.inputs[0] is None else cast.inputs[0].producer()
    if cast is None or layout is None or layout.op_type not in ("Reshape", "Transpose"):
        return None
    source = layout.inputs[0]
    if source is None or source.dtype != ir.DataType.UINT8 or source.shape is None or len(source.shape) != 4:
        return None
    channels = source.shape[3]
    if value is None or value.shape is None or value.shape[1] != channels or not isinstance(channels, int):
        return None
    factor, shift = np.ones(channels), np.zeros(channels)
    for op, constant, reversed_ in reversed(steps):
        factor, shift = _applied(op, constant, reversed_, factor, shift)
    if not (np.isfinite(factor) & np.isfinite(shift) & (factor != 0)).all():
        return None
    return ScaledPixels(source, cast.attributes.get_int("to", 0), factor, shift)


def _step(node: ir.Node) -> tuple[ir.Value, tuple[str, AnyArray, bool]] | None:
    """Return the other input of an operation with a number a channel, and (operator, numbers, numbers first)."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or node.domain:
        return None
    for side in (1, 0):
        constant, value = g.array(node.inputs[side]), node.inputs[1 - side]
        if constant is None or value is None or g.array(value) is not None:
            continue
        if constant.size == 1 or (constant.ndim in (3, 4) and constant.shape[-3] == constant.size):
            return value, (node.op_type, constant.reshape(-1).astype(np.float64), side == 0)
    return None


def _applied(
    op: str, constant: AnyArray, constant_first: bool, factor: AnyArray, shift: AnyArray
) -> tuple[AnyArray, AnyArray]:
    if op == "Mul":
        return factor * constant, shift * constant
    if op == "Add":
        return factor, shift + constant
    if op == "Sub":
        return (-factor, constant - shift) if constant_first else (factor, shift - constant)
    if constant_first:  # a number over the pixels is not of this form
        return factor * np.nan, shift
    return factor / constant, shift / constant
