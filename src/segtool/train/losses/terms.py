"""The losses themselves, in keras.ops: they run on every backend.

In all of them p float32 (N, H, W, K) are the probabilities that a network gave the pixels, y int32 (N, H, W) their true
classes, w float32 (N, H, W) what each pixel counts for (0: nothing), c float32 (K,) what each class counts for. They
return scalars; means over nothing are 0.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from segtool.train.pixels import cross_entropy as surprise

SMOOTHING = 1e-5  # of dice: far below one pixel, so that it changes no figure and divides nothing by 0


def cross_entropy(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return sum(w c_y (-log p_y)) / sum(w c_y), in nats."""
    return _mean(surprise(y, p), w * ops.take(c, y))


def focal(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return sum(w c_y (1 - p_y)^2 (-log p_y)) / sum(w c_y).

    Lin, Goyal, Girshick, He, Dollar: Focal Loss for Dense Object Detection (ICCV 2017), equation 5, with gamma 2, the
    value that they found best; c is its alpha.
    """
    missed = surprise(y, p)
    # From the cross-entropy, not from p: on TensorFlow that comes from the scores and is exact where p rounds to 0.
    return _mean(ops.square(1.0 - ops.exp(-missed)) * missed, w * ops.take(c, y))


def dice(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return 1 - mean_k(2 sum(w p_k [y = k]) / (sum(w p_k) + sum(w [y = k]))), the classes' mean weighted by c.

    Soft Dice over the whole batch: Milletari, Navab, Ahmadi: V-Net (3DV 2016), section 3, in the form without squares
    of Drozdzal et al.: The Importance of Skip Connections (DLMIA 2016), equation 2. Classes that the batch's truth does
    not hold are left out of the mean: their Dice would be 0 whatever the network says. Where it says one of them, those
    that are there lose.
    """
    counted = ops.expand_dims(w, -1)
    truth = ops.one_hot(y, p.shape[-1], dtype="float32") * counted
    overlap, true, said = (ops.sum(item, axis=(0, 1, 2)) for item in (truth * p, truth, p * counted))
    present = ops.cast(true > 0, "float32") * c
    return _mean(1.0 - 2.0 * overlap / (true + said + SMOOTHING), present)


def combined(p: Any, y: Any, w: Any, c: Any) -> Any:
    """Return cross-entropy plus dice: Isensee et al.: nnU-Net (Nature Methods 18, 2021), online methods."""
    return cross_entropy(p, y, w, c) + dice(p, y, w, c)


def _mean(values: Any, weights: Any) -> Any:
    return ops.divide_no_nan(ops.sum(values * weights), ops.sum(weights))
