"""What surrounds the training steps: process settings, the progress listener, pictures of the run.

Keras is imported only where it is used, because the command line imports `TrainListener`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segtool.images.image_io import resize_labels
from segtool.images.pixels import resize_image
from segtool.train.run_folder import RunFolder

if TYPE_CHECKING:
    import keras

    from segtool.train.validation import ValidationSet

SHOWN = 6
"""Number of validation images in predictions.png."""

# glibc's mallopt parameters (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _STEP = 2**31 - 1, 64 * 2**20


class TrainListener:
    """Receives the progress of a training; override the methods of interest."""

    def started(self, info: Mapping[str, Any], *, epochs: int, first_epoch: int, steps: int) -> None:
        """Receive the start of a run: the content `info` of run.json and the first epoch (0-based)."""

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Receive the end of a step of an epoch (both 1-based); `loss` is the epoch's mean so far."""

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Receive the end of an epoch: its row of history.csv, and whether it is the best so far."""


def make_deterministic() -> None:
    """Make the Keras backend of this process deterministic, at some cost in speed.

    Call it before the backend places any tensor. On TensorFlow and PyTorch, an operation without a deterministic form
    raises an error. JAX is always deterministic on a CPU; for a GPU this sets a flag of XLA.
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

    TensorFlow allocates the activations again in each step. glibc maps blocks of this size from the kernel and unmaps
    them when they are freed. Each step then causes a page fault for every page, and the kernel zeroes it again.
    Measured on fcn8 in bfloat16, 40 steps of 8 images on two cores: 2,868 page faults instead of 355,297, 0.26 s of
    system time instead of 0.86 s, the same peak memory.

    Returns
    -------
    bool
        Whether the settings were applied; only Linux with glibc supports them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _STEP))
    return mallopt is not None and all(bool(mallopt(*setting)) for setting in settings)


def draw_run(
    folder: RunFolder, rows: Sequence[Mapping[str, Any]], validation: ValidationSet, model: keras.Model
) -> None:
    """Write curves.png and predictions.png of a run; the pictures show `SHOWN` validation images.

    They are evenly spaced: neighbours are often frames of one video.
    """
    from segtool.report import plot_curves, plot_predictions
    from segtool.train.validation import predict_labels

    plot_curves(rows, folder.curves, title=folder.path.name)
    count = len(validation.images)
    shown = [index * count // min(SHOWN, count) for index in range(min(SHOWN, count))]
    images, truths = [validation.images[i] for i in shown], [validation.labels[i] for i in shown]
    predictions = [predict_labels(model, image) for image in images]
    height, width = images[0].shape[:2]
    plot_predictions(
        np.stack([resize_image(image, height, width) for image in images]),
        np.stack([resize_labels(truth, height, width) for truth in truths]),
        np.stack([resize_labels(prediction, height, width) for prediction in predictions]),
        folder.predictions,
        classes=validation.classes,
        title=f"{folder.path.name}: validation images",
    )
