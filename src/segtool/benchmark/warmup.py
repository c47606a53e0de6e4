"""Warm-up: run models until their times are stable; caches, clocks and lazy allocations need some runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 10
"""Number of rounds whose median is compared with that of the previous rounds."""

TOLERANCE = 0.03
_AGREEMENTS = 2
_LONGEST_SECONDS = 5.0
_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class WarmUp:
    """The result of a warm-up.

    Attributes
    ----------
    rounds, seconds
        Its length; in each round, each case ran once.
    stable
        Whether the times were stable at the end; None if a fixed number of rounds was requested.
    criterion
        The definition of stable, as text.
    """

    rounds: int
    seconds: float
    stable: bool | None
    criterion: str


def warm_up_rounds(runs: Sequence[Callable[[], float]], rounds: int) -> WarmUp:
    """Run all cases interleaved for a fixed number of rounds."""
    started = time.perf_counter()
    for _ in range(rounds):
        _round(runs)
    return WarmUp(rounds, time.perf_counter() - started, None, f"{rounds} rounds, as requested")


def warm_up(runs: Sequence[Callable[[], float]], *, longest: float = _LONGEST_SECONDS) -> WarmUp:
    """Run all cases interleaved until their times are stable.

    Parameters
    ----------
    runs
        Functions that run a case once and return its seconds.
    longest
        Maximum seconds per case; at least three rounds are run.
    """
    started = time.perf_counter()
    limit = started + longest * len(runs)
    rounds: list[list[float]] = []
    while not (settled := has_settled(rounds)):
        if len(rounds) >= _LEAST_ROUNDS and time.perf_counter() >= limit:
            break
        rounds.append(_round(runs))
    criterion = (
        f"stable: for each case, the medians of {WINDOW} rounds differ by at most {100 * TOLERANCE:.0f} % from those "
        f"of the previous {WINDOW}, {_AGREEMENTS} times in a row; limit: {longest:g} s per case"
    )
    return WarmUp(len(rounds), time.perf_counter() - started, settled, criterion)


def has_settled(rounds: Sequence[Sequence[float]]) -> bool:
    """Return whether the last windows of these times (rounds, cases) agree; true only at the end of a window."""
    needed = WINDOW * (_AGREEMENTS + 1)
    if len(rounds) < needed or len(rounds) % WINDOW:
        return False
    windows = np.array(rounds[-needed:]).reshape(_AGREEMENTS + 1, WINDOW, -1)
    medians = np.median(windows, axis=1)
    return bool((np.abs(medians[1:] / medians[:-1] - 1) <= TOLERANCE).all())


def _round(runs: Sequence[Callable[[], float]]) -> list[float]:
    return [run() for run in runs]
