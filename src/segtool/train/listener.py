"""How a training tells of its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class TrainListener:
    """Hears of a training's progress; the methods do nothing unless overridden."""

    def started(self, info: Mapping[str, Any], *, epochs: int, first_epoch: int, steps: int) -> None:
        """Hear that a run with the run.json `info` starts at epoch `first_epoch` (0-based)."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Hear that a step of an epoch (both 1-based) is done; `loss` is the epoch's mean so far."""

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Hear that an epoch is done: its row of history.csv, and whether it is the best so far."""
