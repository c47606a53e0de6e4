"""The stages of an export: what they are called, how far each is, and how long each took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with (done, total) of what one stage counts."""
Stages = Callable[[str, int, int], None]
"""Called with the name of a stage and (done, total) of what it counts; (0, 0) where it begins and counts nothing."""


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


class StageLog:
    """Passes progress on, and logs the time of each stage at its end: what `export -v` shows.

    A stage ends when the next one begins, the last one with `close`.

    Parameters
    ----------
    show
        Called with the same arguments.
    """

    def __init__(self, show: Stages = silent) -> None:
        self._show, self._stage, self._begun = show, "", (0.0, 0.0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of the progress of a stage."""
        if stage != self._stage:
            self.close()
            self._stage, self._begun = stage, _now()
        self._show(stage, done, total)

    def close(self) -> None:
        """Log the time of the present stage."""
        if self._stage:
            passed, used = (now - then for now, then in zip(_now(), self._begun, strict=True))
            logger.info("%s: %.1f s, %.1f s of processor time", self._stage, passed, used)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
