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
from segtool.benchmark.statistics import Ratio, percentiles, rank, ratio_of, ratio_of_turns
from segtool.benchmark.target import BenchmarkCase, Runner, Target
from segtool.errors import DataError

__all__ = ["Length", "Ratio", "compare_interleaved", "measure_latency", "percentiles", "ratio_of"]

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
    """How long to measure.

    Attributes
    ----------
    seconds
        Total time of the timed turns for each case.
    runs
        Timed runs of each case, instead of `seconds`.
    warmup
        Warm-up rounds, not counted; None to run until the times are stable.
    """

    seconds: float = 10.0
    runs: int | None = None
    warmup: int | None = None


def measure_latency(
    targets: Sequence[Target],
    *,
    images: UInt8Array,
    length: Length,
    samples: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure the latency of all cases, interleaved, with a second session of the first model's cases.

    Parameters
    ----------
    targets
        The cases to measure, with their open models.
    images
        uint8 (N, h, w, C) or (N, h, w), used cyclically; images of another size than the model's input are resized,
        and this time is included.
    length
        How long to measure.
    samples
        Also return the time of each run.
    progress
        Called with (done, total), in runs or seconds, between the turns.

    Returns
    -------
    dict
        Ready for JSON. `models` has for each case its description (`Target.describe`); `n`; `latency_ms` (p50 with its
        bootstrap 95 % interval p50_low and p50_high, p90, p99, p999, mean, min, max) of one batch from pixels to label
        maps; `stages_ms`, the median of each of `STAGES` (the latency excludes decode); `throughput_ips`, images a
        second at the mean latency, one run after the other; with `samples`, `samples_ms`. `warmup`, see `warm_up`;
        `noise`, see `noise_of`; `ranking`, None if the noise is too great.

    Raises
    ------
    SegtoolError
        There is nothing to measure, or a batch needs more memory than is available.
    """
    _check(targets, images, length)
    runners = [Runner(target, images) for target in targets]
    twins = {
        number: Runner(target.case.open(), images)
        for number, target in enumerate(targets)
        if target.case.path == targets[0].case.path
    }
    team = [*runners, *twins.values()]
    warmup = warm_up([runner.latency for runner in team], rounds=length.warmup)
    _take_turns(team, length, len(targets), progress)
    times = [runner.latencies() for runner in runners]
    noise = noise_of(
        [(targets[number].case, ratio_of_turns(twin.latencies(), times[number])) for number, twin in twins.items()]
    )
    rows = [
        {**runner.summary(), **({"samples_ms": np.concatenate(own).tolist()} if samples else {})}
        for runner, own in zip(runners, times, strict=True)
    ]
    ranking = rank(rows, times, band=noise["band"]) if noise["quiet"] and len(rows) > 1 else None
    return {"models": rows, "warmup": warmup, "noise": noise, "ranking": ranking}


def warm_up(runs: Sequence[Callable[[], float]], *, rounds: int | None = None) -> dict[str, Any]:
    """Run all cases interleaved until their times are stable: caches, clocks and lazy allocations need some runs.

    Parameters
    ----------
    runs
        Functions that run a case once and return its seconds.
    rounds
        Run this number of rounds instead.

    Returns
    -------
    dict
        `rounds` and `seconds`, its length; `stable`, whether the times were stable at the end, None with `rounds`;
        `criterion`, the definition of stable as text.
    """
    times: list[list[float]] = []
    started = time.perf_counter()
    longest = _WARMUP_SECONDS * len(runs)
    if rounds is not None:
        times = [[run() for run in runs] for _ in range(rounds)]
    else:
        while not has_settled(times) and (len(times) < _LEAST_ROUNDS or time.perf_counter() - started < longest):
            times.append([run() for run in runs])
    criterion = (
        f"stable: for each case, the medians of {WINDOW} rounds differ by at most {100 * _TOLERANCE:.0f} % from those "
        f"of the previous {WINDOW}, {_AGREEMENTS} times in a row; limit: {_WARMUP_SECONDS:g} s per case"
    )
    return {
        "rounds": len(times),
        "seconds": time.perf_counter() - started,
        "stable": has_settled(times) if rounds is None else None,
        "criterion": criterion if rounds is None else f"{rounds} rounds, as requested",
    }


def has_settled(times: Sequence[Sequence[float]]) -> bool:
    """Return whether the last windows of these times (rounds, cases) agree; true only at the end of a window."""
    needed = WINDOW * (_AGREEMENTS + 1)
    if len(times) < needed or len(times) % WINDOW:
        return False
    medians = np.median(np.array(times[-needed:]).reshape(_AGREEMENTS + 1, WINDOW, -1), axis=1)
    return bool((np.abs(medians[1:] / medians[:-1] - 1) <= _TOLERANCE).all())


def noise_of(controls: Sequence[tuple[BenchmarkCase, Ratio]]) -> dict[str, Any]:
    """Return the noise, from cases compared with themselves and their ratios.

    Returns
    -------
    dict
        `criterion` as text and `limit`; `controls`, the compared cases; `band`, the widest of them (a fraction: 0.02
        is 2 %), and whether this is `quiet`.
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
    criterion = (
        "two sessions of the same file, interleaved: the 95 % interval of the ratio of their times must stay within "
        f"{100 * NOISE_LIMIT:.0f} % of 1"
    )
    return {"criterion": criterion, "limit": NOISE_LIMIT, "controls": rows, "band": band, "quiet": band <= NOISE_LIMIT}


def compare_interleaved(a: Callable[[], Any], b: Callable[[], Any], *, rounds: int, warmup: int = 3) -> Ratio:
    """Compare the time of two interleaved calls; the first call of a round alternates.

    Parameters
    ----------
    a, b
        The calls.
    rounds
        Measured pairs.
    warmup
        Warm-up pairs, not counted.
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


def _check(targets: Sequence[Target], images: UInt8Array, length: Length) -> None:
    runs = 1 if length.runs is None else length.runs
    batches = [target.case.batch for target in targets]
    if not targets or len(images) == 0 or runs < 1 or (length.warmup or 0) < 0 or min(batches) < 1:
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
            runner.turn(runs, fresh=len(team) > 1)
        done, number = done + runs, number + 1
        if progress is not None and length.runs is None:
            progress(min(time.perf_counter() - started, seconds), seconds)
        elif progress is not None:
            progress(done, wanted)


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
