"""The kinds of arrays that the runtime passes around, and working through large ones a band of rows at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
"""Raw pixels, 0..255."""

IntegerArray = npt.NDArray[np.integer[Any]]
"""Class ids, or the raw values of a mask."""

FloatArray = npt.NDArray[np.float32]
"""Logits or probabilities."""

# What is computed for a band takes up to some 100 bytes a pixel (a blend in float64 of three channels).
_PIXELS_PER_BAND = 1 << 18


def count_labels(labels: IntegerArray, classes: int) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each class id 0..`classes` - 1 in labels (H, W): int64 (classes,)."""
    counts = np.zeros(classes, dtype=np.int64)
    for rows in row_bands(*labels.shape):  # numpy counts in a copy of 8 bytes a pixel
        counts += np.bincount(labels[rows].reshape(-1), minlength=classes)
    return counts


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices that cover `height` rows once, of about a quarter of a million pixels each."""
    rows = max(1, _PIXELS_PER_BAND // max(1, width))
    for first in range(0, height, rows):
        yield slice(first, min(height, first + rows))
