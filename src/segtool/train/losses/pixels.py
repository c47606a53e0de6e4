"""A loss of label maps, as Keras wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from segtool.train.losses.terms import combined, cross_entropy, dice, focal

_TERMS = {"cross-entropy": cross_entropy, "dice": dice, "focal": focal, "combined": combined}


class PixelLoss(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """One of the losses of `terms` for a batch of label maps.

    Called with labels (N, H, W), probabilities (N, H, W, K) and, if some pixels count less, weights (N, H, W).

    Parameters
    ----------
    name
        One of `LOSSES`.
    class_weights
        What each class counts for, K numbers.
    """

    def __init__(self, name: str, class_weights: Sequence[float]) -> None:
        super().__init__(name=name.replace("-", "_"))
        self._term = _TERMS[name]
        self._class_weights = np.asarray(class_weights, np.float32)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of the whole batch, a scalar."""
        labels = ops.cast(y_true, "float32")
        weights = ops.ones_like(labels) if sample_weight is None else ops.cast(sample_weight, "float32")
        # Keras's own weighting is a sum over pixels, which Dice is not: the weights go in with the labels.
        return super().__call__(ops.stack([labels, weights], axis=-1), y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss (1,) of labels and weights (N, H, W, 2) and probabilities (N, H, W, K)."""
        # Not flattened: TensorFlow finds the scores behind `y_pred` itself, and takes logarithms of those.
        labels = ops.cast(y_true[..., 0], "int32")
        shares = ops.convert_to_tensor(self._class_weights)
        return ops.reshape(self._term(y_pred, labels, y_true[..., 1], shares), (1,))
