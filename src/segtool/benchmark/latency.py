"""Interleaved measurement of models: latency, noise, and whether one is faster than another.

All comparisons are interleaved (A, B, A, B, ...), so that a change of the clock or of other load affects all models.
Percentiles include each run after the warm-up; no outlier is removed. Two sessions of one file take the same time, so
their ratio shows the noise of the machine (an A/A test).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.case import BenchmarkCase, Runner
from segtool.benchmark.statistics import Ratio, rank, ratio_of, ratio_of_turns
from segtool.errors import DataError

RUNS_A_TURN = 5
"""Timed runs of a turn. The previous case has replaced the caches, so one run before them is not timed."""

NOISE_LIMIT = 0.05
"""If two sessions of one file differ by more than this fraction, there is no ranking."""

WINDOW = 10
"""Number of warm-up rounds whose median is compared with that of the previous rounds."""

_TOLERANCE, _AGREEMENTS = 0.03, 2
_LEAST_ROUNDS, _WARMUP_SECONDS = 3, 5.0
_LEAST_RUNS = 10

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Length:
    """How long to measure each case."""

    seconds: float = 10.0
    runs: int | None = None
    """Timed runs, instead of `seconds` of timed turns."""
    warmup: int | None = None
    """Rounds that are not counted; None to run until the times are stable."""


def measure_latency(
    cases: Sequence[BenchmarkCase],
    *,
    images: UInt8Array,
    length: Length,
    samples: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the latency of all cases, interleaved, with a second session of the first model's cases.

    Parameters
    ----------
    images
        uint8 (N, h, w, C) or (N, h, w), used cyclically; the time to resize them to the model's input is included.
    samples
        Also return the time of each run.
    progress
        Called with (done, total), in runs or seconds, between the turns.

    Returns
    -------
    dict
        `models`: for each case its `BenchmarkCase.describe` and `Runner.summary`, and with `samples` its `samples_ms`.
        `warmup` of `warm_up`, `noise` of `noise_of`, and `ranking` of `rank`, None if the noise is too great.

    Raises
    ------
    SegtoolError
        There is nothing to measure, or a batch needs more memory than is available.
    """
    _check(cases, images, length)
    runners = [Runner(case, images) for case in cases]
    twins = {number: Runner(case.again(), images) for number, case in enumerate(cases) if case.path == cases[0].path}
    team = [*runners, *twins.values()]
    warmup = warm_up([runner.latency for runner in team], rounds=length.warmup)
    _take_turns(team, length, len(cases), progress)
    times = [runner.latencies() for runner in runners]
    noise = noise_of(
        [(cases[number], ratio_of_turns(twin.latencies(), times[number])) for number, twin in twins.items()]
    )
    rows = [case.describe() | runner.summary() for case, runner in zip(cases, runners, strict=True)]
    if samples:
        rows = [row | {"samples_ms": np.concatenate(own).tolist()} for row, own in zip(rows, times, strict=True)]
    ranking = rank(rows, times, band=noise["band"]) if noise["quiet"] and len(rows) > 1 else None
    return {"models": rows, "warmup": warmup, "noise": noise, "ranking": ranking}


def warm_up(runs: Sequence[Callable[[], float]], *, rounds: int | None = None) -> dict[str, Any]:
    """Run all cases interleaved until their times are stable: caches, clocks and lazy allocations need some runs.

    `runs` are functions that run a case once and return its seconds. With `rounds`, this number of rounds is run.

    Returns
    -------
    dict
        `rounds` and `seconds`, its length; `stable`, whether the times were stable at the end, None with `rounds`;
        `criterion`, the definition of stable as text.
    """
    times: list[list[float]] = []
    started = time.perf_counter()
    if rounds is not None:
        times = [[run() for run in runs] for _ in range(rounds)]
        stable, criterion = None, f"{rounds} rounds, as requested"
    else:
        longest = _WARMUP_SECONDS * len(runs)
        while not has_settled(times) and (len(times) < _LEAST_ROUNDS or time.perf_counter() - started < longest):
            times.append([run() for run in runs])
        stable = has_settled(times)
        criterion = (
            f"stable: for each case, the medians of {WINDOW} rounds differ by at most {100 * _TOLERANCE:.0f} % from "
            f"those of the previous {WINDOW}, {_AGREEMENTS} times in a row; limit: {_WARMUP_SECONDS:g} s per case"
        )
    seconds = time.perf_counter() - started
    return {"rounds": len(times), "seconds": seconds, "stable": stable, "criterion": criterion}


def has_settled(times: Sequence[Sequence[float]]) -> bool:
    """Return whether the last windows of these times (rounds, cases) agree; true only at the end of a window."""
    needed = WINDOW * (_AGREEMENTS + 1)
    if len(times) < needed or len(times) % WINDOW:
        return False
    medians = np.median(np.array(times[-needed:]).reshape(_AGREEMENTS + 1, WINDOW, -1), axis=1)
    return bool((np.abs(medians[1:] / medians[:-1] - 1) <= _TOLERANCE).all())


def noise_of(controls: Sequence[tuple[BenchmarkCase, Ratio]]) -> dict[str, Any]:
    """Return the noise of cases compared with themselves: `band`, the widest of their bands (0.02 is 2 %).

    It is `quiet` up to the `limit` (`criterion` says so as text); `controls` lists the cases.
    """
    keys = ("provider", "threads", "batch")
    rows = [
        {
            "path": str(case.path),
            **{key: getattr(case, key) for key in keys},
            "ratio": asdict(ratio),
            "band": ratio.band,
        }
        for case, ratio in controls
    ]
    band = max(row["band"] for row in rows)
    criterion = (
        "two sessions of the same file, interleaved: the 95 % interval of the ratio of their times must stay within "
        f"{100 * NOISE_LIMIT:.0f} % of 1"
    )
    return {"criterion": criterion, "limit": NOISE_LIMIT, "controls": rows, "band": band, "quiet": band <= NOISE_LIMIT}


def compare_interleaved(a: Callable[[], Any], b: Callable[[], Any], *, rounds: int, warmup: int = 3) -> Ratio:
    """Compare the time of two interleaved calls in `rounds` pairs, after `warmup` pairs that are not counted.

    The first call of a pair alternates.
    """
    if rounds < 1:
        raise DataError(f"The number of rounds is {rounds}; expected at least 1.")
    ratios = []
    for number in range(-warmup, rounds):
        if number % 2:
            time_b, time_a = _timed(b), _timed(a)
        else:
            time_a, time_b = _timed(a), _timed(b)
        if number >= 0:
            ratios.append(time_a / time_b)
    return ratio_of(np.array(ratios))


def _check(cases: Sequence[BenchmarkCase], images: UInt8Array, length: Length) -> None:
    numbers = [len(cases), len(images), *(case.batch for case in cases), 1 if length.runs is None else length.runs]
    if min(numbers) < 1 or (length.warmup or 0) < 0:
        raise DataError(
            "A benchmark needs at least one case, one image, one run and batches of at least one image; add what is "
            "missing."
        )


def _take_turns(team: Sequence[Runner], length: Length, cases: int, progress: Progress | None) -> None:
    """Run interleaved rounds until there are enough; the first case of a round rotates."""
    started, done, number = time.perf_counter(), 0, 0
    wanted, seconds = length.runs or _LEAST_RUNS, length.seconds * cases
    while done < wanted or (length.runs is None and time.perf_counter() - started < seconds):
        runs = RUNS_A_TURN if length.runs is None else min(RUNS_A_TURN, wanted - done)
        first = number % len(team)
        for runner in [*team[first:], *team[:first]]:
            runner.turn(runs)
        done, number = done + runs, number + 1
        if progress is not None and length.runs is None:
            progress(min(time.perf_counter() - started, seconds), seconds)
        elif progress is not None:
            progress(done, wanted)


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
