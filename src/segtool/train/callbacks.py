"""What happens around the steps of a training: settings of the process before, reports and averages, pictures after.

Keras is imported only where it is used: the command line imports `TrainListener`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from segtool.data.classes import Classes
from segtool.images.image_io import resize_labels
from segtool.images.pixels import resize_image
from segtool.train.run_folder import RunFolder

if TYPE_CHECKING:
    import keras

    from segtool.train.validation import ValidationSet

SHOWN = 6
"""Validation images in predictions.png."""

# glibc's mallopt parameters (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _STEP = 2**31 - 1, 64 * 2**20


class TrainListener:
    """Receives the progress of a training; the methods do nothing unless overridden."""

    def started(self, info: Mapping[str, Any], *, epochs: int, first_epoch: int, steps: int) -> None:
        """Receive the start of a run with the run.json `info` at epoch `first_epoch` (0-based)."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Receive the end of a step of an epoch (both 1-based); `loss` is the epoch's mean so far."""

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Receive the end of an epoch: its row of history.csv, and whether it is the best so far."""


def make_deterministic() -> None:
    """Let the Keras backend of this process compute the same bits from the same values, at some cost in speed.

    Call it before the backend has placed anything. On TensorFlow and PyTorch an operation that cannot do so raises an
    error. On JAX a CPU always does, and on a GPU this sets XLA's flag.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA's matrix library starts
        torch.use_deterministic_algorithms(True)
    elif "--xla_gpu_deterministic_ops" not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def keep_freed_memory() -> bool:
    """Let glibc reuse freed blocks in this process instead of returning them to the kernel after each step.

    TensorFlow allocates the activations of each step anew. glibc maps blocks of that size from the kernel and unmaps
    them when they are freed, so each step faults in, and has the kernel zero, all its pages again. Measured on fcn8 in
    bfloat16, 40 steps of 8 images on two cores: 2,868 page faults instead of 355,297, 0.26 s of system time instead of
    0.86 s, the same peak memory.

    Returns
    -------
    bool
        Whether it was done; only Linux with glibc has it.
    """
    return set_glibc({_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _STEP})


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Within the block, the trainable weights of the compiled `model` are their moving averages.

    The means and variances of normalizations are averages already and stay. Without a moving average nothing changes.
    """
    # float16 training wraps the optimizer in one that scales the loss.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    kept = [np.array(variable.numpy()) for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, kept, strict=True):
            variable.assign(value)


def draw_run(
    folder: RunFolder, rows: Sequence[Mapping[str, Any]], validation: ValidationSet, model: keras.Model
) -> None:
    """Write curves.png and predictions.png of a run; the latter shows the first `SHOWN` validation images."""
    from segtool.report import plot_curves, plot_predictions
    from segtool.train.validation import predict_labels

    plot_curves(rows, folder.curves, title=folder.path.name)
    shown = range(min(SHOWN, len(validation.images)))
    images, truths = [validation.images[i] for i in shown], [validation.labels[i] for i in shown]
    predictions = [predict_labels(model, image) for image in images]
    height, width = images[0].shape[:2]
    plot_predictions(
        np.stack([resize_image(image, height, width) for image in images]),
        np.stack([resize_labels(truth, height, width) for truth in truths]),
        np.stack([resize_labels(prediction, height, width) for prediction in predictions]),
        folder.predictions,
        classes=Classes(validation.class_names, validation.background_id, validation.ignore_id),
        title=f"{folder.path.name}: validation images",
    )


def set_glibc(settings: Mapping[int, int]) -> bool:
    """Set parameters of glibc's mallopt for this process; return whether it took all, other C libraries none.

    Parameters
    ----------
    settings
        Values by the numbers of parameters in glibc's malloc.h.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return mallopt is not None and all(bool(mallopt(*setting)) for setting in settings.items())
