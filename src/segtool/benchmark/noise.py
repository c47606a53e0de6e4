"""Measure the noise of a machine by comparing a model with itself, and rank models only if it is small.

Two sessions of one file take the same time, so their ratio shows the noise (an A/A test). If its interval is too far
from 1, there is no ranking. Otherwise models whose ratio lies within it share a rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segtool.array_types import Float64Array
from segtool.benchmark.statistics import Ratio, ratio_of_turns
from segtool.benchmark.target import BenchmarkCase

NOISE_LIMIT = 0.05

CRITERION = (
    "two sessions of the same file, interleaved: the 95 % interval of the ratio of their times must stay within "
    f"{100 * NOISE_LIMIT:.0f} % of 1"
)


@dataclass(frozen=True)
class Control:
    """A case compared with itself, with the ratio of the times."""

    case: BenchmarkCase
    ratio: Ratio


def noise_of(controls: Sequence[Control]) -> dict[str, Any]:
    """Return `controls`, the widest `band` among them (a fraction: 0.02 is 2 %) and whether this is `quiet`."""
    rows = [
        {
            "path": str(each.case.path),
            "provider": each.case.provider,
            "threads": each.case.threads,
            "batch": each.case.batch,
            "ratio": asdict(each.ratio),
            "band": each.ratio.band,
        }
        for each in controls
    ]
    band = max(each.ratio.band for each in controls)
    return {"controls": rows, "band": band, "quiet": band <= NOISE_LIMIT}


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
        ranking += _rank_group(sorted(members, key=lambda index: float(rows[index]["latency_ms"]["p50"])), times, band)
    return [{"batch": rows[entry["model"]]["batch"], **entry} for entry in ranking]


def _rank_group(order: Sequence[int], times: Sequence[Sequence[Float64Array]], band: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    leader, place = order[0], 1  # the fastest of those that share a rank
    for position, index in enumerate(order, start=1):
        if ratio_of_turns(times[index], times[leader]).low > 1 + band:
            leader, place = index, position
        fastest = ratio_of_turns(times[index], times[order[0]])
        found.append({"model": index, "rank": place, "over_fastest": asdict(fastest)})
    return found
