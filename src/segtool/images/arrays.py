"""Iteration over large arrays in bands of rows."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray

# Computations on a band use up to about 100 bytes a pixel (a blend in float64 of three channels).
_PIXELS_PER_BAND = 1 << 18


def count_labels(labels: IntegerArray, classes: int) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each class id 0..`classes` - 1 in labels (H, W): int64 (classes,)."""
    counts = np.zeros(classes, dtype=np.int64)
    for rows in row_bands(*labels.shape):  # numpy counts a copy with 8 bytes a pixel
        counts += np.bincount(labels[rows].reshape(-1), minlength=classes)
    return counts


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices that cover `height` rows once, each of about 250,000 pixels."""
    rows = max(1, _PIXELS_PER_BAND // max(1, width))
    for first in range(0, height, rows):
        yield slice(first, min(height, first + rows))
