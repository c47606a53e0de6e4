"""Interleaved measurement of models: latency, noise, and whether one is faster than another.

All comparisons are interleaved (A, B, A, B, ...), so that a change of the clock or of other load affects all models.
Percentiles include each run after the warm-up; no outlier is removed. Two sessions of one file take the same time, so
their ratio shows the noise of the machine (an A/A test).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.case import RUNS_A_TURN, BenchmarkCase, Runner
from segtool.benchmark.statistics import Ratio, rank, ratio_of, ratio_of_turns
from segtool.errors import DataError

NOISE_LIMIT = 0.05
"""If two sessions of one file differ by more than this fraction, there is no ranking."""

_LEAST_TURNS = 2
_WARMUP_SECONDS, _WARMUP_ROUNDS = 1.0, 3

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Length:
    """How long to measure each case."""

    seconds: float = 10.0
    runs: int | None = None
    """Least number of timed runs, instead of `seconds` of timed turns."""
    warmup: int | None = None
    """Rounds that are not counted; None for one second per case, and at least three rounds."""

    def turns(self, cases: int, *, least: int, runs: Callable[[], int], progress: Progress) -> Iterator[int]:
        """Yield the numbers of interleaved turns until there are enough.

        Parameters
        ----------
        cases
            Number of cases, each with its `seconds`.
        least
            Least number of turns.
        runs
            Returns the number of timed runs of each case so far.
        progress
            Called with (done, total), in runs or seconds, between the turns.
        """
        started = time.perf_counter()
        for number in itertools.count():
            if self.runs is None:
                done, total = time.perf_counter() - started, self.seconds * cases
            else:
                done, total = runs(), self.runs
            progress(min(done, total), total)
            if number >= least and done >= total:
                return
            yield number


def measure_latency(
    cases: Sequence[BenchmarkCase],
    *,
    images: UInt8Array,
    length: Length,
    samples: bool = False,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Measure the latency of all cases, interleaved, with a second session of the first model's cases.

    Parameters
    ----------
    images
        uint8 (N, h, w, C) or (N, h, w), used cyclically; the time to resize them to the model's input is included.
    samples
        Also return the time of each run.
    progress
        As in `Length.turns`.

    Returns
    -------
    dict
        `models`: for each case its `BenchmarkCase.describe` and `Runner.summary`. `warmup`, its number of `rounds` and
        `seconds`; `noise` of `noise_of`; `ranking` of `rank`, None if the noise is too great.

    Raises
    ------
    SegtoolError
        A model cannot be run, or a batch needs more memory than is available.
    """
    runners = [Runner(case, images) for case in cases]
    twins = {number: Runner(case.again(), images) for number, case in enumerate(cases) if case.path == cases[0].path}
    team = [*runners, *twins.values()]
    warmup = _warm_up(team, length.warmup)
    done = runners[0].turns
    for number in length.turns(len(cases), least=_LEAST_TURNS, runs=lambda: RUNS_A_TURN * len(done), progress=progress):
        first = number % len(team)  # rotates
        for runner in [*team[first:], *team[:first]]:
            runner.turn()
    times = [runner.latencies() for runner in runners]
    noise = noise_of(
        [(cases[number], ratio_of_turns(twin.latencies(), times[number])) for number, twin in twins.items()]
    )
    rows = [case.describe() | runner.summary(samples=samples) for case, runner in zip(cases, runners, strict=True)]
    ranking = rank(rows, times, band=noise["band"]) if noise["quiet"] and len(rows) > 1 else None
    return {"models": rows, "warmup": warmup, "noise": noise, "ranking": ranking}


def _warm_up(team: Sequence[Runner], rounds: int | None) -> dict[str, Any]:
    """Run all cases interleaved: caches, clocks and lazy allocations need some runs. Return the length."""
    started, seconds, done = time.perf_counter(), 0.0, 0
    while done < (rounds or _WARMUP_ROUNDS) or (rounds is None and seconds < _WARMUP_SECONDS * len(team)):
        for runner in team:
            runner.run()
        done, seconds = done + 1, time.perf_counter() - started
    return {"rounds": done, "seconds": seconds}


def noise_of(controls: Sequence[tuple[BenchmarkCase, Ratio]]) -> dict[str, Any]:
    """Return the noise of cases compared with themselves: `band`, the widest of their bands (0.02 is 2 %).

    It is `quiet` up to the `limit`; `controls` lists the cases.
    """
    rows = [
        {
            "path": str(case.path),
            "provider": case.provider,
            "threads": case.threads,
            "batch": case.batch,
            "ratio": asdict(ratio),
            "band": ratio.band,
        }
        for case, ratio in controls
    ]
    band = max(ratio.band for _, ratio in controls)
    return {"limit": NOISE_LIMIT, "controls": rows, "band": band, "quiet": band <= NOISE_LIMIT}


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


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
