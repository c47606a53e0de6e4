"""Interleaved measurement of models: latency, and whether one is faster than another.

All comparisons are interleaved (A, B, A, B, ...), so that a change of the clock or of other load affects all models.
Percentiles include each run after the warm-up; no outlier is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.batch_memory import require_memory
from segtool.benchmark.noise import CRITERION, NOISE_LIMIT, Control, noise_of, rank
from segtool.benchmark.statistics import Ratio, percentiles, ratio_of, ratio_of_turns
from segtool.benchmark.target import STAGES, BenchmarkCase, Subject, describe
from segtool.benchmark.warmup import WarmUp, warm_up, warm_up_rounds
from segtool.errors import DataError

__all__ = [
    "STAGES", "BenchmarkCase", "Length", "Ratio", "compare_interleaved", "measure_latency", "percentiles", "ratio_of",
]  # fmt: skip

RUNS_A_TURN = 5
"""Timed runs of a turn. The previous case has replaced the caches, so one run before them is not timed."""

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
    cases
        The cases to measure.
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
        Ready for JSON. `models` has for each case its description (`segtool.benchmark.target.describe`); `n`;
        `latency_ms` (p50 with its bootstrap 95 % interval p50_low and p50_high, p90, p99, p999, mean, min, max) of one
        batch from pixels to label maps; `stages_ms`, the median of each of `STAGES` (the latency excludes decode);
        `throughput_ips`, images a second at the mean latency, one run after the other; with `samples`, `samples_ms`.
        `warmup`; `noise`, the comparison of a model with itself; `ranking`, None if the noise is too great.

    Raises
    ------
    SegtoolError
        A model cannot be opened, or a batch needs more memory than is available.
    """
    _check(cases, images, length)
    subjects = [Subject(case, images) for case in cases]
    for subject in subjects:
        require_memory(subject.case, subject.segmenter)
    twins = [(subject, Subject(subject.case, images)) for subject in subjects if subject.case.path == cases[0].path]
    team = [*subjects, *(twin for _, twin in twins)]
    warmth = _warm(team, length)
    _take_turns(team, length, len(cases), progress or _nothing)
    times = [subject.latencies() for subject in subjects]
    controls = [Control(one.case, ratio_of_turns(twin.latencies(), one.latencies())) for one, twin in twins]
    noise = noise_of(controls)
    rows = [{**describe(subject.segmenter, subject.case), **subject.summary()} for subject in subjects]
    if samples:
        rows = [{**row, "samples_ms": np.concatenate(own).tolist()} for row, own in zip(rows, times, strict=True)]
    return {
        "models": rows,
        "warmup": asdict(warmth),
        "noise": {"criterion": CRITERION, "limit": NOISE_LIMIT, **noise},
        "ranking": rank(rows, times, band=noise["band"]) if noise["quiet"] and len(rows) > 1 else None,
    }


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


def _check(cases: Sequence[BenchmarkCase], images: UInt8Array, length: Length) -> None:
    runs = 1 if length.runs is None else length.runs
    if not cases or len(images) == 0 or runs < 1 or (length.warmup or 0) < 0 or any(case.batch < 1 for case in cases):
        raise DataError(
            "A benchmark needs at least one case, one image, one run and batches of at least one image; add what is "
            "missing."
        )


def _warm(team: Sequence[Subject], length: Length) -> WarmUp:
    runs = [lambda subject=subject: sum(subject.run()[1:]) for subject in team]
    return warm_up(runs) if length.warmup is None else warm_up_rounds(runs, length.warmup)


def _take_turns(team: Sequence[Subject], length: Length, cases: int, progress: Progress) -> None:
    """Run interleaved rounds until there are enough; the first case of a round rotates."""
    started, done, number = time.perf_counter(), 0, 0
    wanted, seconds = length.runs or _LEAST_RUNS, length.seconds * cases
    while done < wanted or (length.runs is None and time.perf_counter() - started < seconds):
        runs = RUNS_A_TURN if length.runs is None else min(RUNS_A_TURN, wanted - done)
        first = number % len(team)
        for subject in [*team[first:], *team[:first]]:
            subject.turn(runs, fresh=len(team) > 1)
        done, number = done + runs, number + 1
        if length.runs is None:
            progress(min(time.perf_counter() - started, seconds), seconds)
        else:
            progress(done, wanted)


def _nothing(done: float, total: float) -> None:
    """Ignore the progress."""


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
