"""The end of an epoch: check the weights, score the model, keep the best one, save the state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from segtool.array_types import UInt8Array
from segtool.errors import TrainingError
from segtool.files import write_with
from segtool.metrics import Scores
from segtool.models.fake_quantization import FakeQuantizedModel, copy_weights
from segtool.train.auxiliary import network_weights
from segtool.train.batches import TrainingBatches
from segtool.train.callbacks import TrainListener
from segtool.train.checkpoint import Progress, save_checkpoint
from segtool.train.plan import Plan
from segtool.train.run_folder import RunFolder
from segtool.train.statistics import ESTIMATION_IMAGES, FEW_STEPS, Reestimation
from segtool.train.validation import ValidationSet


class EpochEnd(keras.callbacks.Callback):  # type: ignore[misc]  # keras carries no types
    """Scores, checks and saves after each epoch.

    The order makes a kill at any moment harmless. The checkpoint comes first: a resume starts from it. The files that
    `publish` derives from it follow, and a resume writes them again.

    Parameters
    ----------
    plan
        The plan of the training.
    folder
        The run folder.
    best_model
        The same network in float32, as saved in model.keras.
    batches
        The training batches; they change with each epoch.
    validation
        The images that each epoch is scored on.
    progress
        The history so far; this class adds to it.
    listener
        Receives the steps and epochs.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        best_model: keras.Model,
        *,
        batches: TrainingBatches,
        validation: ValidationSet,
        progress: Progress,
        listener: TrainListener,
    ) -> None:
        super().__init__()
        self._folder, self._best_model, self._batches = folder, best_model, batches
        self._validation, self._progress, self._listener = validation, progress, listener
        self._patience, self._begun = plan.recipe.patience, 0.0
        self._alone = plan.device.cluster.workers == 1  # other workers would not see a change of statistics

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        """Start the clock of the epoch and set its batches, independent of how often Keras iterates over them."""
        self._batches.start_epoch(epoch)
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report the step; raise an error if the loss is not finite."""
        loss, step = float((logs or {})["loss"]), batch + 1
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} in epoch {len(self._progress.rows) + 1}, by step {step}, expected a finite "
                "number; train with --precision float32. If that does not help, use fewer classes or a cleaner data "
                "set."
            )
        self._listener.step(len(self._progress.rows) + 1, step, loss)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Check the weights, score the model, save the state, keep the best model."""
        check_finite(self.model)
        if self._alone and len(self._batches) < FEW_STEPS:
            self._reestimate(self._estimation_batches())
        scores, val_loss = self._validation.score(self._scored())
        row = self._row(epoch + 1, logs or {}, scores, val_loss)
        self._progress.add(row, scores.foreground_mean_iou)
        save_checkpoint(self._folder.checkpoint, self.model, self._progress)
        publish(self._folder, self._progress, model=self.model, best_model=self._best_model)
        self._listener.epoch(row, best=self._progress.last_is_best)
        self.model.stop_training = self._progress.exhausted(self._patience)

    @cached_property
    def _reestimate(self) -> Reestimation:
        return Reestimation(self.model)

    def _estimation_batches(self) -> Iterator[UInt8Array]:
        """Yield images of the epoch, enough to estimate the statistics of normalizations."""
        count = min(len(self._batches), -(-ESTIMATION_IMAGES // self._batches.batch_size))
        return (self._batches[index][0] for index in range(count))

    def _scored(self) -> keras.Model:
        """Return the network to score: the trained one, or its copy where crops or coarse scores are trained."""
        same_input = self.model.input_shape == self._best_model.input_shape
        if same_input and len(self.model.outputs) == 1:
            return self.model
        self._best_model.set_weights(network_weights(self.model))
        return self._best_model

    def _row(self, epoch: int, logs: Mapping[str, Any], scores: Scores, val_loss: float) -> dict[str, Any]:
        row = {
            "epoch": epoch,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "val_loss": val_loss,
            "val_pixel_accuracy": scores.pixel_accuracy,
            "val_foreground_mean_iou": scores.foreground_mean_iou,
            "val_foreground_mean_dice": scores.foreground_mean_dice,
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "seconds": time.perf_counter() - self._begun,
        }
        return {key: value if key == "epoch" else float(f"{value:.6g}") for key, value in row.items()}


def publish(folder: RunFolder, progress: Progress, *, model: keras.Model, best_model: keras.Model) -> None:
    """Write the files derived from a checkpoint: history.csv, and model.keras if its epoch is the best so far.

    A quantization-aware training has quantization.json beside model.keras: the trained scales.
    """
    if progress.last_is_best:
        if isinstance(model, FakeQuantizedModel):
            copy_weights(model, best_model)
            model.trained_quantization().write(folder.path)
        else:
            best_model.set_weights(network_weights(model))
        write_with(folder.model, best_model.save)
    folder.write_history(progress.rows)


def check_finite(model: keras.Model) -> None:
    """Refuse weights that are not finite: every quantizer fails on them, even if the outputs look right.

    Raises
    ------
    TrainingError
        A weight holds NaN or infinity; the message names it.
    """
    for weight in model.weights:
        bad = int(np.size(value := np.asarray(weight.numpy())) - np.isfinite(value).sum())
        if bad:
            raise TrainingError(
                f"{bad} values of the weight {weight.path} are not finite numbers; train with --precision float32, "
                "and report this as a bug."
            )
