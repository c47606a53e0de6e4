"""Count pixels: the confusion matrix, and the checks of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Int64Array
from segtool.errors import DataError

# Pixels counted at a time: bounds the memory of the 8-byte codes of bincount, and keeps them in the cache.
_BLOCK = 1 << 18


def confusion_matrix(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    num_classes: int,
    *,
    ignore_id: int | None = None,
) -> Int64Array:
    """Count the pixels of each (true class, predicted class) pair.

    Parameters
    ----------
    truth, prediction
        Class ids, integer arrays of one shape.
    num_classes
        Number of classes K; ids are 0..K-1.
    ignore_id
        True label whose pixels are not counted; None for none.

    Returns
    -------
    numpy.ndarray
        int64 (K, K): rows are the truth, columns the prediction. Matrices of several images can be added.

    Raises
    ------
    DataError
        The shapes differ, an array does not contain integers, or an id is out of range.
    """
    check_pair(truth, prediction, num_classes)
    flat_truth, flat_prediction = truth.reshape(-1), prediction.reshape(-1)
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    for start in range(0, flat_truth.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        counts += _count_block(flat_truth[block], flat_prediction[block], num_classes, ignore_id)
    return counts.reshape(num_classes, num_classes)


def check_pair(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int) -> None:
    """Refuse label maps that cannot be counted: different shapes, or not integers."""
    if num_classes < 1:
        raise DataError(f"The number of classes is {num_classes}; expected at least 1.")
    if truth.shape != prediction.shape:
        raise DataError(f"The truth has shape {truth.shape} and the prediction {prediction.shape}; expected the same.")
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.dtype.kind not in "iub":
            raise DataError(f"The {name} has dtype {labels.dtype}; expected integer class ids.")


def _count_block(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int, ignore_id: int | None
) -> Int64Array:
    """Return the flat counts, int64 (K * K,), of one block of pixels."""
    if ignore_id is not None:
        counted = truth != ignore_id
        if not counted.all():
            truth, prediction = truth[counted], prediction[counted]
    for name, labels in (("truth", truth), ("prediction", prediction)):
        check_range(labels, num_classes, name)
    # With up to 256 classes, a code fits in 16 bits, a quarter of bincount's own type.
    code_dtype = np.dtype(np.uint16 if num_classes <= 256 else np.intp)
    codes: npt.NDArray[Any] = truth.astype(code_dtype) * code_dtype.type(num_classes)
    codes += prediction.astype(code_dtype, copy=False)
    return np.bincount(codes, minlength=num_classes * num_classes).astype(np.int64, copy=False)


def check_range(labels: npt.NDArray[Any], num_classes: int, name: str) -> None:
    """Refuse ids outside 0..K-1; `name` is the name of the labels in the message."""
    if labels.size == 0:
        return
    low, high = 0 if labels.dtype.kind in "ub" else int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        found = low if low < 0 else high
        raise DataError(
            f"The {name} contains the id {found}; expected 0..{num_classes - 1}, or the ignore id in the truth."
        )
