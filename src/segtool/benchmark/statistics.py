"""Statistics of repeated measurements: percentiles, and intervals of medians."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array

LEAST_FOR_P999 = 1000
"""With fewer values, the 99.9th percentile would be the largest value."""

_BLOCKS = 50
_BOOTSTRAP_SAMPLES = 2000
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Ratio:
    """The ratio of the times of A and B: above 1, B is faster.

    Attributes
    ----------
    median
        Median over the rounds of time of A / time of B.
    low, high
        Bootstrap 95 % interval of that median.
    """

    median: float
    low: float
    high: float

    @property
    def band(self) -> float:
        """The distance of the interval from 1, as a fraction: the noise, if A and B are the same."""
        return max(abs(self.low - 1), abs(self.high - 1))


def percentiles(values: Float64Array) -> dict[str, float | None]:
    """Return p50, p90, p99, p999, mean, min and max of all values, in their unit; p999 is None below 1000 values."""
    p50, p90, p99, p999 = np.percentile(values, (50, 90, 99, 99.9)).tolist()
    return {
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "p999": p999 if len(values) >= LEAST_FOR_P999 else None,
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def ratio_of(ratios: Float64Array) -> Ratio:
    """Return the median of paired ratios with its percentile bootstrap interval (Efron, 1979)."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    samples = rng.choice(ratios, size=(_BOOTSTRAP_SAMPLES, len(ratios)))
    low, high = np.percentile(np.median(samples, axis=1), (2.5, 97.5)).tolist()
    return Ratio(float(np.median(ratios)), low, high)


def median_interval(values: Float64Array) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median of values in the order of their measurement.

    Values close in time are correlated (the clock, another program). Therefore runs of consecutive values are drawn
    (the block bootstrap of Kuensch, 1989); single values would make the interval too narrow.
    """
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    blocks = np.array_split(values, min(_BLOCKS, len(values)))
    chosen = rng.integers(0, len(blocks), size=(_BOOTSTRAP_SAMPLES // 2, len(blocks)))
    medians = [np.median(np.concatenate([blocks[index] for index in row])) for row in chosen]
    low, high = np.percentile(medians, (2.5, 97.5)).tolist()
    return low, high


def ratio_of_turns(turns: Sequence[Float64Array], reference: Sequence[Float64Array]) -> Ratio:
    """Return the ratio of the times of two interleaved cases.

    Parameters
    ----------
    turns, reference
        The times of each turn, for the same rounds. At most 50 blocks of consecutive rounds give one ratio of medians
        each.
    """
    rounds = np.array_split(np.arange(len(turns)), min(_BLOCKS, len(turns)))
    return ratio_of(np.array([_median(turns, block) / _median(reference, block) for block in rounds]))


def _median(turns: Sequence[Float64Array], rounds: npt.NDArray[np.int64]) -> float:
    return float(np.median(np.concatenate([turns[index] for index in rounds])))
