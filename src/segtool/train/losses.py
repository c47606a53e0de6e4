"""The losses and the accuracy of label maps; `segtool.train.recipes` has their names.

The losses are written in keras.ops and run on every backend. They share these arguments:

- p float32 (N, H, W, K): the predicted probabilities.
- y int32 (N, H, W): the true classes.
- w float32 (N, H, W): the weights of the pixels, 0 for ignored pixels.
- c float32 (K,): the weights of the classes; None for 1 each.

They return scalars. A mean over no pixels is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from segtool.train import faster

_SMOOTHING = 1e-5  # of dice: far below one pixel, so it only avoids a division by 0


class PixelLoss(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """A loss of a batch of label maps.

    Call it with labels (N, H, W), probabilities (N, H, W, K) and optional pixel weights (N, H, W).

    Parameters
    ----------
    name
        One of `segtool.train.recipes.LOSSES`.
    class_weights
        K numbers, the weight of each class: of its pixels, or in dice of its Dice; None for 1 each.
    """

    def __init__(self, name: str, class_weights: Sequence[float] | None = None) -> None:
        super().__init__(name=name.replace("-", "_"))
        self._term = _TERMS[name]
        self._class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of the whole batch, a scalar.

        The base class weights a sum over pixels. Dice is not such a sum, so this method replaces it.
        """
        labels, probabilities = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        weights = ops.ones_like(labels, "float32") if sample_weight is None else ops.cast(sample_weight, "float32")
        class_weights = None if self._class_weights is None else ops.convert_to_tensor(self._class_weights)
        return self._term(probabilities, labels, weights, class_weights)


class PixelAccuracy(keras.metrics.Mean):  # type: ignore[misc]  # keras carries no types
    """The weighted fraction of pixels whose most probable class is the true one."""

    def __init__(self) -> None:
        super().__init__(name="accuracy")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: labels (N, H, W), probabilities (N, H, W, K) and weights (N, H, W)."""
        labels, scores = ops.cast(y_true, "int32"), faster.scores_behind(y_pred)
        if scores is None:
            right = ops.cast(ops.equal(ops.argmax(y_pred, axis=-1), labels), "float32")
        else:
            right = faster.hits(scores, labels)
        super().update_state(right, sample_weight)


def _cross_entropy(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return sum(w c_y (-log p_y)) / sum(w c_y), in nats."""
    return _mean(_negative_log(p, y), _weights(w, c, y))


def _focal(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return sum(w c_y (1 - p_y)^2 (-log p_y)) / sum(w c_y).

    Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection (ICCV 2017), equation 5, with gamma 2, the
    best value there; c is its alpha.
    """
    missed = _negative_log(p, y)
    # Use the cross-entropy, not p: on TensorFlow it comes from the scores and is exact even if p rounds to 0.
    return _mean(ops.square(1.0 - ops.exp(-missed)) * missed, _weights(w, c, y))


def _dice(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return 1 - mean_k(2 sum(w p_k [y = k]) / (sum(w p_k) + sum(w [y = k]))); c weights the mean over classes.

    Soft Dice over the whole batch: Milletari, Navab, Ahmadi: V-Net (3DV 2016), section 3, in the form without squares
    of Drozdzal et al.: The Importance of Skip Connections (DLMIA 2016), equation 2. The mean excludes classes that are
    absent from the truth of the batch, because their Dice is 0 for every prediction. Predicting such a class still
    lowers the Dice of the classes that are present.
    """
    counted = ops.expand_dims(w, -1)
    truth = ops.one_hot(y, p.shape[-1], dtype="float32") * counted
    overlap, true, predicted = (ops.sum(item, axis=(0, 1, 2)) for item in (truth * p, truth, p * counted))
    present = ops.cast(true > 0, "float32") * (1.0 if c is None else c)
    return _mean(1.0 - 2.0 * overlap / (true + predicted + _SMOOTHING), present)


def _combined(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return cross-entropy plus dice: Isensee et al.: nnU-Net (Nature Methods 18, 2021), online methods."""
    return _cross_entropy(p, y, w, c) + _dice(p, y, w, c)


_TERMS = {"cross-entropy": _cross_entropy, "dice": _dice, "focal": _focal, "combined": _combined}


def _negative_log(p: Any, y: Any) -> Any:
    """Return -log p_y of each pixel (N, H, W), in nats."""
    if keras.backend.backend() == "torch":
        # Keras 3.15 calls torch's nll_loss2d here. On a CPU, torch 2.13 computes its gradient only for maps that are
        # channels first in memory ("grad_input must be contiguous"); those of Keras are channels last.
        chosen = ops.take_along_axis(p, ops.expand_dims(y, -1), axis=-1)
        return -ops.log(ops.clip(ops.squeeze(chosen, axis=-1), keras.config.epsilon(), 1.0 - keras.config.epsilon()))
    scores = faster.scores_behind(p)
    return ops.sparse_categorical_crossentropy(y, p) if scores is None else faster.negative_log(scores, y)


def _weights(w: Any, c: Any, y: Any) -> Any:
    return w if c is None else w * ops.take(c, y)


def _mean(values: Any, weights: Any) -> Any:
    return ops.divide_no_nan(ops.sum(values * weights), ops.sum(weights))
