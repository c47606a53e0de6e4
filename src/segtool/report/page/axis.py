"""Scales: from values to pixels, with ticks at round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Maps the values `low` to `high` to the pixels `start` to `end`, evenly or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return where `value` lies, in pixels; values outside lie at the nearer end."""
        low, high, at = (self._bent(item) for item in (self.low, self.high, min(max(value, self.low), self.high)))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values between `low` and `high`."""
        return log_ticks(self.low, self.high, count) if self.log else linear_ticks(self.low, self.high, count)

    def _bent(self, value: float) -> float:
        return math.log10(value) if self.log else value


def scale_of(values: list[float], span: tuple[float, float], *, log: bool = False, pad: float = 0.06) -> Scale:
    """Return a scale over finite `values` with a margin of the share `pad` on both sides.

    Parameters
    ----------
    values
        What is to be shown; at least one, all positive where `log`.
    span
        Pixels of the lower and the upper end.
    """
    low, high = min(values), max(values)
    if log:
        factor = (high / low) ** pad if high > low else 2.0
        return Scale(low / factor, high * factor, *span, log=True)
    margin = (high - low) * pad if high > low else abs(high) * 0.05 or 1.0
    return Scale(low - margin, high + margin, *span)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Return multiples of a round step between `low` and `high`."""
    raw = (high - low) / max(count, 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in _STEPS if unit * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Return 1, 2, 5, 10, ... between `low` and `high`, or powers of ten alone where those are many."""
    found: list[float] = []
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in values if low * 0.9999 <= value <= high * 1.0001]
        if not found or len(inside) <= count + 2:
            found = inside
    return found if len(found) > 1 else linear_ticks(low, high, count)


def tick_text(value: float) -> str:
    """Return a tick's value in few characters."""
    return f"{value:.0f}" if abs(value) >= 1e4 and value == round(value) and abs(value) < 1e6 else f"{value:g}"
