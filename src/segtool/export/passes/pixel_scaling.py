"""What a network computes from its uint8 pixels before its first convolution: a x + b a channel.

Read by `pixels_as_channels`, and by `int8.qdq`, which takes pixels as the integers that they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from segtool.array_types import AnyArray
from segtool.export.passes import graph as g

_TOLERANCE = 1e-6  # of a zero point that is a whole number but for the rounding of its constants


@dataclass(frozen=True)
class ScaledPixels:
    """Floats, factor x + shift, of uint8 pixels x.

    Attributes
    ----------
    source
        The pixels.
    cast
        The ONNX type of the floats.
    factor, shift
        float64 (C,) each, or (1,) where they are the same for every channel.
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
    """Return what a value is of uint8 pixels; None of a value that is something else."""
    maker = g.maker(value)
    if maker is None:
        return None
    if maker.op_type == "Cast":
        source = maker.inputs[0]
        if source is None or source.dtype != ir.DataType.UINT8:
            return None
        return ScaledPixels(source, maker.attributes.get_int("to", 0), np.ones(1), np.zeros(1))
    found = g.with_constant(maker) if maker.op_type in ("Add", "Sub", "Mul", "Div") and not maker.domain else None
    before = None if found is None else scaled_pixels(found[0])
    if found is None or before is None:
        return None
    _, constant, side = found
    if constant.size > 1 and (constant.ndim not in (3, 4) or constant.shape[-3] != constant.size):
        return None
    numbers = constant.reshape(-1).astype(np.float64)
    factor, shift = _applied(maker.op_type, numbers, side == 0, before.factor, before.shift)
    is_scaling = np.isfinite(factor).all() and np.isfinite(shift).all() and (factor != 0).all()
    return ScaledPixels(before.source, before.cast, factor, shift) if is_scaling else None


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
