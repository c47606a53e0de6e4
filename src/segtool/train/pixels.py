"""The loss and the accuracy of pixels, as Keras wants them: from the scores behind the probabilities where it can."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def cross_entropy(labels: Any, probabilities: Any) -> Any:
    """Return -log p_label of each pixel, in nats: labels (N, H, W), probabilities (N, H, W, K)."""
    if keras.backend.backend() == "torch":
        # Keras 3.15's own ends in torch's nll_loss2d, whose gradient torch 2.13 computes on a CPU only for maps that
        # lie channels first in memory ("grad_input must be contiguous"); Keras's lie channels last.
        chosen = ops.take_along_axis(probabilities, ops.expand_dims(labels, -1), axis=-1)
        return -ops.log(ops.clip(ops.squeeze(chosen, axis=-1), keras.config.epsilon(), 1.0 - keras.config.epsilon()))
    scores = _scores(probabilities)
    if scores is None:
        return ops.sparse_categorical_crossentropy(labels, probabilities)
    from segtool.train.faster.loss import surprise

    return surprise(scores, labels)


class PixelCrossEntropy(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """Cross-entropy, the mean over the pixels by their weights."""

    def __init__(self) -> None:
        super().__init__(reduction="mean_with_sample_weight")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the cross-entropy of each pixel."""
        return cross_entropy(ops.cast(y_true, "int32"), y_pred)


class PixelAccuracy(keras.metrics.Mean):  # type: ignore[misc]  # keras carries no types
    """The share of pixels whose most probable class is theirs, by their weights."""

    def __init__(self) -> None:
        super().__init__(name="accuracy")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: labels (N, H, W), probabilities (N, H, W, K) and weights (N, H, W)."""
        labels = ops.cast(y_true, "int32")
        scores = _scores(y_pred)
        if scores is None:
            right = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), labels), "float32")
        else:
            from segtool.train.faster.loss import hits

            right = hits(scores, labels)
        super().update_state(right, sample_weight)


def _scores(probabilities: Any) -> Any:
    if keras.backend.backend() != "tensorflow":
        return None
    from segtool.train.faster.loss import scores_behind

    return scores_behind(probabilities)
