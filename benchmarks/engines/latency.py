"""One engine's turns: a few runs to get warm again, then some that are timed, one image each."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from engines.engine import Engine, Images

WARM_RUNS, TIMED_RUNS = 10, 10
"""Runs of each turn. Whoever ran before has emptied the caches, so the first do not count: measured, the first run
takes a third longer than the twelfth, and from the eighth on the difference is below 3 %."""


class LatencySubject:
    """An open engine that takes turns.

    Parameters
    ----------
    engine
        What to open.
    threads
        How many threads it may use.
    images_file
        As in `Sources`; the validation images are taken in order.
    warm, timed
        Runs of each turn.
    """

    def __init__(
        self, engine: Engine, threads: int, images_file: Path, *, warm: int = WARM_RUNS, timed: int = TIMED_RUNS
    ) -> None:
        self._warm, self._timed = warm, timed
        self._predict = engine.open(engine.path, threads)
        with np.load(images_file) as arrays:
            self._images: Images = arrays["validation"]

    def labels(self) -> Images:
        """Return the class ids of every validation image, uint8 (m, H, W), run one by one as they are timed."""
        labels = np.concatenate([self._predict(self._images[i : i + 1]) for i in range(len(self._images))])
        if labels.dtype != np.uint8 or labels.shape != self._images.shape[:3]:
            raise ValueError(f"The labels are {labels.dtype} {labels.shape}, expected uint8 {self._images.shape[:3]}.")
        return labels

    def turn(self, number: int) -> list[float]:
        """Return the seconds of each timed run."""
        return [self._run(number * self._timed + run) for run in range(-self._warm, self._timed)][self._warm :]

    def _run(self, index: int) -> float:
        start = index % len(self._images)
        image = self._images[start : start + 1]
        started = time.perf_counter()
        self._predict(image)
        return time.perf_counter() - started
