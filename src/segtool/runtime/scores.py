"""Arithmetic on what the logits and probabilities heads give: float32 per pixel and class."""

from __future__ import annotations

import numpy as np

from segtool.images.arrays import FloatArray, row_bands


def softmax(logits: FloatArray) -> FloatArray:
    """Return the softmax over the last axis; the maximum is taken off first so that exp cannot overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def resize_planes(values: FloatArray, height: int, width: int) -> FloatArray:
    """Resize float32 (h, w, K) to (height, width, K), bilinear; values keep their range and their sum over K."""
    if values.shape[:2] == (height, width):
        return values
    resized = np.empty((height, width, values.shape[2]), dtype=np.float32)
    for rows in row_bands(height, width):  # what lies between the two axes is as large as the result
        resized[rows] = _resize_axis(_resize_axis(values, height, rows, axis=0), width, slice(0, width), axis=1)
    return resized


def _resize_axis(values: FloatArray, target: int, wanted: slice, *, axis: int) -> FloatArray:
    """Interpolate linearly between pixel centres along one of the first two axes, for `wanted` of `target` pixels."""
    source = values.shape[axis]
    centres = np.clip((np.arange(wanted.start, wanted.stop) + 0.5) * source / target - 0.5, 0, source - 1)
    below = np.floor(centres).astype(np.intp)
    above = np.minimum(below + 1, source - 1)
    share = (centres - below).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
    resized: FloatArray = values.take(below, axis) * (1 - share) + values.take(above, axis) * share
    return resized
