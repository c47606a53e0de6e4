"""Live progress of a training on stderr: rate, time left, and a line for each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from segtool.cli.common import error_console, is_quiet, say
from segtool.text import percent
from segtool.train.callbacks import TrainListener

_CHANGES = (
    "augment", "loss", "class_weights", "optimizer", "schedule", "learning_rate", "weight_decay", "ema", "patience",
    "teacher",
)  # fmt: skip


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
            TextColumn("{task.fields[rate]:.1f} steps/s  loss {task.fields[loss]:.4f}  {task.fields[left]} left"),
            console=error_console(),
            transient=True,
            disable=is_quiet() or not error_console().is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, epoch=0, epochs=0, rate=0.0, loss=0.0, left="?")
        self._epochs = self._steps = self._first = self._epoch = self._counted = 0
        self._begun = self._epoch_begun = 0.0

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
            f"{data['spec']}: {counts['train']} images to train, {counts['val']} to validate"
            + (f", {counts['test']} to test" if counts["test"] else "")
        )
        say(f"{info['device']['description']}, {info['precision']['name']}: {info['precision']['reason']}")
        if first_epoch:
            say(f"Resuming after epoch {first_epoch} of {epochs}.")
        self._progress.update(self._bar, total=epochs * steps, completed=first_epoch * steps, epochs=epochs)
        self._begun = self._epoch_begun = time.monotonic()

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Move the bar, by one or several steps. The first steps, which compile, do not count in the rate."""
        if epoch != self._epoch:
            self._count_from(epoch, step)
        rate = (step - self._counted) / max(time.monotonic() - self._epoch_begun, 1e-9)
        done = (epoch - 1) * self._steps + step
        self._progress.update(self._bar, completed=done, epoch=epoch, rate=rate, loss=loss, left=self._left(done))

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Print a line with the scores of the epoch."""
        self.finished = row["epoch"]
        self._count_from(self.finished + 1, 0)
        say(
            f"epoch {row['epoch']:>3}/{self._epochs}  loss {row['loss']:.4f}  val: loss {row['val_loss']:.4f}, "
            f"accuracy {100 * row['val_pixel_accuracy']:.2f} %, IoU {_percent(row['val_foreground_mean_iou'])}, "
            f"Dice {_percent(row['val_foreground_mean_dice'])}  {row['seconds']:.1f} s, "
            f"{self._left(row['epoch'] * self._steps)} left{'  best' if best else ''}"
        )

    def _count_from(self, epoch: int, step: int) -> None:
        self._epoch, self._counted, self._epoch_begun = epoch, step, time.monotonic()

    def _left(self, done: int) -> str:
        spent, steps = time.monotonic() - self._begun, done - self._first * self._steps
        seconds = round(spent / max(steps, 1) * (self._epochs * self._steps - done))
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def _changes(config: Mapping[str, Any]) -> str:
    """Return the changes of a run to its recipe, in brackets; an empty text without changes."""
    given = [f"{name.replace('_', ' ')} {config[name]}" for name in _CHANGES if config.get(name) is not None]
    return f" ({', '.join(given)})" if given else ""


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{percent(value)} %"
