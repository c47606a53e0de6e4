"""Running models until their times have settled: caches, clocks and lazy allocations take some runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 10
"""Rounds whose median is compared with that of the rounds before."""

TOLERANCE = 0.03
_AGREEMENTS = 2
_LONGEST_SECONDS = 5.0
_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went.

    Attributes
    ----------
    rounds, seconds
        How long it took; in each round every subject ran once.
    stable
        Whether the times had settled when it ended; None where a fixed number of rounds was asked for.
    criterion
        What that means, in words.
    """

    rounds: int
    seconds: float
    stable: bool | None
    criterion: str


def warm_up_rounds(runs: Sequence[Callable[[], float]], rounds: int) -> WarmUp:
    """Run each in turn a fixed number of times."""
    started = time.perf_counter()
    for _ in range(rounds):
        _round(runs)
    return WarmUp(rounds, time.perf_counter() - started, None, f"{rounds} rounds, as asked for")


def warm_up(runs: Sequence[Callable[[], float]], *, longest: float = _LONGEST_SECONDS) -> WarmUp:
    """Run each in turn until none gets faster or slower any more.

    Parameters
    ----------
    runs
        Each runs its subject once and returns the seconds that this took.
    longest
        Seconds for each of them after which it ends in any case, but not before three rounds.
    """
    started = time.perf_counter()
    limit = started + longest * len(runs)
    rounds: list[list[float]] = []
    while not (settled := has_settled(rounds)):
        if len(rounds) >= _LEAST_ROUNDS and time.perf_counter() >= limit:
            break
        rounds.append(_round(runs))
    criterion = (
        f"the medians of {WINDOW} rounds differ by at most {100 * TOLERANCE:.0f} % from those of the {WINDOW} before, "
        f"for every case, {_AGREEMENTS} times in a row; at most {longest:g} s a case"
    )
    return WarmUp(len(rounds), time.perf_counter() - started, settled, criterion)


def has_settled(rounds: Sequence[Sequence[float]]) -> bool:
    """Tell whether the last windows of these times (rounds, subjects) agree; only ever at the end of a window."""
    needed = WINDOW * (_AGREEMENTS + 1)
    if len(rounds) < needed or len(rounds) % WINDOW:
        return False
    windows = np.array(rounds[-needed:]).reshape(_AGREEMENTS + 1, WINDOW, -1)
    medians = np.median(windows, axis=1)
    return bool((np.abs(medians[1:] / medians[:-1] - 1) <= TOLERANCE).all())


def _round(runs: Sequence[Callable[[], float]]) -> list[float]:
    return [run() for run in runs]
