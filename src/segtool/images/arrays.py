"""Large arrays: iteration in bands of rows, and the number of pixels of each value."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from segtool.array_types import Int64Array, IntegerArray

# Computations on a band use up to about 100 bytes a pixel (a blend in float64 of three channels).
_PIXELS_PER_BAND = 1 << 18


def count_labels(labels: IntegerArray, classes: int) -> Int64Array:
    """Return the number of pixels of each class id 0..`classes` - 1 in labels of any shape: int64 (classes,)."""
    if labels.dtype == np.uint8:
        return np.pad(count_bytes(labels), (0, max(0, classes - 256)))[:classes]
    counts = np.zeros(classes, dtype=np.int64)
    for rows in row_bands(labels.size, 1):  # numpy counts a copy with 8 bytes a pixel
        counts += np.bincount(labels.reshape(-1)[rows], minlength=classes)[:classes]
    return counts


def count_bytes(values: IntegerArray) -> Int64Array:
    """Return how often each value occurs in uint8 values of any shape: int64 (256,)."""
    if not values.size:
        return np.zeros(256, np.int64)
    plane = values if values.ndim == 2 else values.reshape(1, -1)
    # numpy would widen each value to 8 bytes first.
    return np.array(Image.fromarray(np.ascontiguousarray(plane)).histogram(), np.int64)


def row_bands(height: int, width: int) -> Iterator[slice]:
    """Yield slices that cover `height` rows once, each of about 250,000 pixels."""
    rows = max(1, _PIXELS_PER_BAND // max(1, width))
    for first in range(0, height, rows):
        yield slice(first, min(height, first + rows))
