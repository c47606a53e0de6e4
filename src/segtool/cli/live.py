"""Live progress of a training on stderr: rate, time left, and a line for each epoch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from segtool.cli.common import error_console, is_quiet, say
from segtool.text import counted, percent
from segtool.train.callbacks import TrainListener

_CHANGES = (
    "augment", "auxiliary", "loss", "class_weights", "optimizer", "schedule", "learning_rate", "weight_decay",
    "patience",
)  # fmt: skip
_RATE_SECONDS = 3600
"""The rate covers the last 1,000 moves of the bar (rich keeps no more) or this time: an epoch can be one move."""

_ESTIMATE_STEPS, _ESTIMATE_SECONDS = 10, 5.0
"""The time is estimated after this number of steps and seconds, whichever is later."""


class LiveTraining(TrainListener):
    """Show a bar on a terminal, and print one line for each epoch with the scores and the remaining time.

    Attributes
    ----------
    finished
        Number of finished epochs; None before the training begins.
    """

    def __init__(self) -> None:
        self.finished: int | None = None
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:.1f} steps/s  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=error_console(),
            transient=True,
            disable=is_quiet() or not error_console().is_terminal,
            speed_estimate_period=_RATE_SECONDS,
        )

    def __enter__(self) -> LiveTraining:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, info: Mapping[str, Any], *, epochs: int, first_epoch: int, steps: int) -> None:
        """Print the network, the data, the device and the precision with its reason."""
        self._epochs, self._steps, self._first = epochs, steps, first_epoch
        self.finished = first_epoch
        data, counts = info["data"], info["data"]["splits"]
        say(
            f"{info['arch']}, {info['parameters']:,} parameters, recipe {info['recipe']}{_changes(info['config'])}, "
            f"{data['spec']}: {counted(counts['train'], 'image')} to train, {counts['val']} to validate"
            + (f", {counts['test']} to test" if counts["test"] else "")
        )
        say(f"{info['device']['description']}, {info['precision']['name']}: {info['precision']['reason']}")
        for reason in info["reasons"]:
            say(f"Chosen: {reason}.")
        if first_epoch:
            say(f"Resuming after epoch {first_epoch} of {epochs}.")
        self._task = self._progress.add_task(
            "", total=epochs * steps, completed=first_epoch * steps, epoch=first_epoch, epochs=epochs, rate=0, loss=0
        )
        self._begun = time.monotonic()
        self._warm: tuple[int, float] | None = None
        self._estimated = False

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar by a step; print an estimate once.

        The first step, which compiles, does not count in the rate.
        """
        self._progress.update(self._task, completed=(epoch - 1) * self._steps + step, epoch=epoch, loss=loss)
        self._progress.update(self._task, rate=self._progress.tasks[self._task].speed or 0)

        self._estimate((epoch - 1) * self._steps + step)

    def _estimate(self, done: int) -> None:
        """Print the time of the whole training after some steps, if it is more than a minute."""
        now = time.monotonic()
        if self._warm is None:
            self._warm = done, now
        steps, seconds = done - self._warm[0], now - self._warm[1]
        if self._estimated or steps < _ESTIMATE_STEPS or seconds < _ESTIMATE_SECONDS:
            return
        self._estimated = True
        left = (self._epochs - self._first) * self._steps * seconds / steps
        if left > 60:
            say(
                f"About {timedelta(seconds=round(left))} (h:mm:ss) for {counted(self._epochs - self._first, 'epoch')} "
                f"of {counted(self._steps, 'step')}, without the validation after each. Ctrl-C stops, and "
                "`segtool train --resume` goes on."
            )

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Print a line with the scores of the epoch."""
        self.finished = row["epoch"]
        seconds = (time.monotonic() - self._begun) / (row["epoch"] - self._first) * (self._epochs - row["epoch"])
        iou, dice = (percent(row[f"val_foreground_mean_{name}"]) for name in ("iou", "dice"))
        say(
            f"epoch {row['epoch']:>3}/{self._epochs}  loss {row['loss']:.4f}  val: loss {row['val_loss']:.4f}, "
            f"accuracy {percent(row['val_pixel_accuracy'])} %, IoU {iou} %, Dice {dice} %  {row['seconds']:.1f} s, "
            f"{timedelta(seconds=round(seconds))} left{'  best' if best else ''}"
        )


def _changes(config: Mapping[str, Any]) -> str:
    """Return the changes of a run to its recipe, in brackets; an empty text without changes."""
    given = [f"{name.replace('_', ' ')} {config[name]}" for name in _CHANGES if config.get(name) is not None]
    return f" ({', '.join(given)})" if given else ""
