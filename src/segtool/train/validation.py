"""Scoring a network in training on images that it does not train on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from segtool.data.evaluation import images_at_once
from segtool.runtime.metrics import confusion_matrix


def score_network(
    model: keras.Model,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer[Any]],
    *,
    num_classes: int,
    ignore_id: int | None = None,
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the confusion matrix int64 (K, K) over all images, and the mean cross-entropy a pixel in nats.

    Parameters
    ----------
    model
        Maps uint8 (N, H, W, C) to probabilities (N, H, W, K).
    images
        uint8 (N, H, W, C).
    labels
        integers (N, H, W); pixels equal to `ignore_id` count in neither figure.
    """
    matrix = np.zeros((num_classes, num_classes), np.int64)
    loss_sum, pixels = 0.0, 0
    batch_size = images_at_once((images.shape[1], images.shape[2]), most=100)
    for start in range(0, len(images), batch_size):
        truth = labels[start : start + batch_size]
        probabilities = np.asarray(model.predict_on_batch(images[start : start + batch_size]), np.float32)
        matrix += confusion_matrix(truth, probabilities.argmax(-1), num_classes, ignore_id=ignore_id)
        counted = np.ones(truth.shape, bool) if ignore_id is None else truth != ignore_id
        of_truth = np.take_along_axis(probabilities, np.where(counted, truth, 0)[..., None].astype(np.intp), -1)[..., 0]
        loss_sum -= float(np.log(np.maximum(of_truth[counted], 1e-7), dtype=np.float64).sum())
        pixels += int(counted.sum())
    return matrix, loss_sum / max(pixels, 1)
