"""Statistics of repeated measurements: percentiles, intervals of medians and ratios, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segtool.array_types import Float64Array

LEAST_FOR_P999 = 1000
"""With fewer values, the 99.9th percentile would be the largest value."""

_BLOCKS = 50
_BOOTSTRAP_SAMPLES = 1000


@dataclass(frozen=True)
class Ratio:
    """Median of time of A / time of B, with its bootstrap 95 % interval: above 1, B is faster."""

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


def median_interval(values: Float64Array) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the median of values in the order of their measurement.

    Values close in time are correlated (the clock, another program), so blocks of consecutive values are drawn
    (Kuensch, 1989); single values would make the interval too narrow. Up to 50 values are drawn one by one.
    """
    blocks = np.array_split(values, min(_BLOCKS, len(values)))
    chosen = np.random.default_rng(0).integers(0, len(blocks), size=(_BOOTSTRAP_SAMPLES, len(blocks)))
    medians = [np.median(np.concatenate([blocks[index] for index in row])) for row in chosen]
    low, high = np.percentile(medians, (2.5, 97.5)).tolist()
    return low, high


def ratio_of(ratios: Float64Array) -> Ratio:
    """Return the median of paired ratios, in the order of their measurement, with its interval."""
    return Ratio(float(np.median(ratios)), *median_interval(ratios))


def ratio_of_turns(turns: Sequence[Float64Array], reference: Sequence[Float64Array]) -> Ratio:
    """Return the ratio of the times of two interleaved cases, from the ratio of their medians in each round."""
    medians = (np.median(each) / np.median(other) for each, other in zip(turns, reference, strict=True))
    return ratio_of(np.array(list(medians)))


def rank(
    rows: Sequence[Mapping[str, Any]], times: Sequence[Sequence[Float64Array]], *, band: float
) -> list[dict[str, Any]]:
    """Return the cases from the fastest to the slowest, separately for each batch size.

    Parameters
    ----------
    rows
        The cases, with `batch` and `latency_ms`.
    times
        Their milliseconds, by turn.
    band
        Differences up to this fraction count as equal.

    Returns
    -------
    list of dict
        `model`, the index of the case in `rows`; `batch`; `rank`, from 1, equal for cases without a clear difference;
        `over_fastest`, the ratio of its time to that of the fastest of its batch size, with its interval.
    """
    ranking: list[dict[str, Any]] = []
    for batch in dict.fromkeys(row["batch"] for row in rows):
        members = [index for index, row in enumerate(rows) if row["batch"] == batch]
        order = sorted(members, key=lambda index: float(rows[index]["latency_ms"]["p50"]))
        leader, place = order[0], 1  # the fastest of those that share a rank
        for position, index in enumerate(order, start=1):
            if ratio_of_turns(times[index], times[leader]).low > 1 + band:
                leader, place = index, position
            over_fastest = asdict(ratio_of_turns(times[index], times[order[0]]))
            ranking.append({"batch": batch, "model": index, "rank": place, "over_fastest": over_fastest})
    return ranking
