"""Calibration: the range of every quantized value over real images, streamed, in memory that does not grow with them.

"min-max" keeps two numbers a value, which the graph itself computes: no map is copied out of it. "mse" keeps a
histogram of 2048 bins around 0, whose width doubles (neighbouring bins merge) when a value falls outside.

Where few values are far larger than all others, as behind the hard-swish of MobileNetV3, "mse" keeps 97.7 % in place of
96.8 % of the labels (torchvision's LR-ASPP on generated scenes, 256 x 256). So both are tried (`quantize`). Left out,
measured on fcn8 (M2NIST, 400 images not calibrated on, pixels with FP32's label, the best strength of equalization
each; min-max 99.92 %): percentiles (99.93 %), and TensorRT's entropy (97.6 %), which clips what is rare, and here the
digits are rare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.errors import ExportError
from segtool.export.running import reduced, run_batches

_PARTS = 32
_REDUCED = ("ReduceMin", "ReduceMax", "ReduceSum")


class _MinMax:
    """The smallest and the largest number seen."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0

    def add(self, values: AnyArray) -> None:
        """Look at more values."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def bounds(self) -> tuple[float, float]:
        """Return the range, which holds 0."""
        return self.low, self.high


class Histogram(_MinMax):
    """Counts over [-edge, edge] in 2 `half` bins, for the smallest squared error; `edge` doubles for a value outside.

    Parameters
    ----------
    half
        Number of bins on each side of 0, even.
    """

    def __init__(self, half: int = 1024) -> None:
        super().__init__()
        self.half, self.edge = half, 0.0
        self.counts = np.zeros(2 * half, np.int64)

    def add(self, values: AnyArray) -> None:
        """Count more values."""
        super().add(values)
        largest = max(self.high, -self.low)
        if not self.edge:
            self.edge = largest
        while self.edge < largest:
            self.edge *= 2
            merged = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.pad(merged, self.half // 2)
        if self.edge:
            self.counts += np.histogram(values, 2 * self.half, (-self.edge, self.edge))[0]

    def bounds(self) -> tuple[float, float]:
        """Return the range, which holds 0, whose 256 levels have the smallest sum of squared errors.

        A value inside is off by at most half a step s, s**2 / 12 on average; one outside by its distance from the end.
        Zeros are exact. Each end is one of 32 equal parts of the largest number on its side.
        """
        if self.low == self.high:
            return self.low, self.high
        edges = np.linspace(-self.edge, self.edge, 2 * self.half + 1)
        centres, counts = (edges[1:] + edges[:-1]) / 2, self.counts.astype(np.float64)
        if self.low == 0:
            counts[self.half] = 0  # nearly all of these are the zeros of a ReLU
        parts = np.arange(1, _PARTS + 1) / _PARTS
        lows = parts * self.low if self.low < 0 else np.zeros(1)
        highs = parts * self.high if self.high > 0 else np.zeros(1)
        below = np.array([(counts * np.maximum(low - centres, 0) ** 2).sum() for low in lows])
        above = np.array([(counts * np.maximum(centres - high, 0) ** 2).sum() for high in highs])
        steps = (highs[None] - lows[:, None]) / 255
        error = below[:, None] + above[None] + counts.sum() * steps**2 / 12
        row, column = np.unravel_index(error.argmin(), error.shape)
        return float(lows[row]), float(highs[column])


_COLLECTORS: dict[str, type[_MinMax]] = {"min-max": _MinMax, "mse": Histogram}


def calibrate(
    model: onnx.ModelProto,
    names: Sequence[str],
    batches: Iterable[UInt8Array],
    *,
    method: str = "min-max",
) -> dict[str, tuple[float, float]]:
    """Return the range of each named value over the images; every range holds 0.

    Parameters
    ----------
    model
        Float model.
    names
        Of values in its graph.
    batches
        Images, uint8 (n, H, W, C) each.
    method
        One of `options.CALIBRATIONS` other than "auto".

    Raises
    ------
    ExportError
        A value is not finite.
    """
    collectors = {name: _COLLECTORS[method]() for name in names}
    for values in _looked_at(model, names, iter(batches), whole=method != "min-max"):
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise ExportError(f"On real images {name} is not finite; train the network again.")
            collectors[name].add(value)
    return {name: item.bounds() for name, item in collectors.items()}


def _looked_at(
    model: onnx.ModelProto, names: Sequence[str], batches: Iterator[UInt8Array], *, whole: bool
) -> Iterator[dict[str, AnyArray]]:
    """Yield each named value for each batch: the `whole` map, or its extremes, and NaN where a number is not finite."""
    if whole:
        yield from run_batches(model, names, batches)
        return
    watched, found = reduced(model, names, _REDUCED)
    outputs = [output for group in found.values() for output in group.values()]
    for values in run_batches(watched, outputs, batches):
        yield {name: _extremes(*(values[group[name]] for group in found.values())) for name in names}


def _extremes(low: AnyArray, high: AnyArray, total: AnyArray) -> AnyArray:
    # An extreme may be finite beside a NaN; a sum is not. 0 is in every range.
    with np.errstate(invalid="ignore"):
        return np.stack([low, high, 0 * total])
