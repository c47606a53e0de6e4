"""Count the pixels of each class per image: the data for the scores of any group of images.

One histogram is enough: the code of a pixel contains its image, its true and predicted class, and whether it lies near
an outline in either map. For each image, six sums per class are kept, so a million images of eleven classes use half a
gigabyte, whatever their size. The full confusion matrix is kept once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Int64Array, IntegerArray
from segtool.errors import DataError
from segtool.metrics.boundary import boundary_band
from segtool.metrics.counting import check_pair, check_range
from segtool.metrics.overlap import ClassSums

_BLOCK = 1 << 18  # pixels at a time: they stay in the processor's cache
_BINS = 1 << 16  # number in one histogram: the range of 16 bits
_STACKS = ("hits", "truth", "prediction", "boundary_hits", "boundary_truth", "boundary_prediction")
_SIDES = 4  # near an outline in neither map, only in the prediction, only in the truth, in both


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixels of each class in each of N images, and the confusion matrix of all of them.

    Attributes
    ----------
    matrix
        int64 (K, K) over all images, rows truth, columns prediction.
    hits, truth, prediction
        int64 (N, K): correct, true and predicted pixels of each class.
    boundary_hits, boundary_truth, boundary_prediction
        int64 (N, K): the same for the pixels near an outline.
    """

    matrix: Int64Array
    hits: Int64Array
    truth: Int64Array
    prediction: Int64Array
    boundary_hits: Int64Array
    boundary_truth: Int64Array
    boundary_prediction: Int64Array

    def __len__(self) -> int:
        return len(self.hits)

    @classmethod
    def joined(cls, parts: Sequence[ImageCounts]) -> ImageCounts:
        """Return the counts of all images of several parts, in order."""
        if not parts:
            raise DataError("There are no images to count; pass at least one.")
        stacks = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _STACKS}
        matrix = parts[0].matrix.copy()
        for part in parts[1:]:
            matrix += part.matrix
        return cls(matrix=matrix, **stacks)

    @classmethod
    def of_histograms(cls, counts: Int64Array) -> ImageCounts:
        """Return the counts of N images whose pixels were counted as int64 (N, 4, K, K).

        The second axis: near an outline in neither map, only in the prediction, only in the truth, and in both.
        """
        every = counts.sum(axis=1)
        both = counts[:, 3]
        return cls(
            matrix=every.sum(axis=0),
            hits=_diagonal(every),
            truth=every.sum(axis=2),
            prediction=every.sum(axis=1),
            boundary_hits=_diagonal(both),
            boundary_truth=(counts[:, 2] + both).sum(axis=2),
            boundary_prediction=(counts[:, 1] + both).sum(axis=1),
        )

    def stacked(self) -> npt.NDArray[np.float64]:
        """Return the six sums of each image side by side, float64 (N, 6 K): exact, and ready for a matrix product."""
        return np.concatenate([getattr(self, name) for name in _STACKS], axis=1).astype(np.float64)

    def sums(self) -> ClassSums:
        """Return the sums of each image, (N, K)."""
        return ClassSums(*(values.astype(np.float64) for values in (self.hits, self.truth, self.prediction)))

    def boundary_sums(self) -> ClassSums:
        """Return the sums of the pixels near an outline of each image, (N, K)."""
        parts = (self.boundary_hits, self.boundary_truth, self.boundary_prediction)
        return ClassSums(*(values.astype(np.float64) for values in parts))


def count_images(
    truths: IntegerArray,
    predictions: IntegerArray,
    num_classes: int,
    *,
    boundary_width: int,
    ignore_id: int | None = None,
) -> ImageCounts:
    """Count the pixels of a stack of label maps.

    Parameters
    ----------
    truths, predictions
        Class ids (N, H, W), integers of one shape; `truths` may contain `ignore_id`.
    num_classes
        Number of classes K; ids are 0..K-1.
    boundary_width
        Maximum distance in pixels from an outline to a pixel of the boundary; see `boundary_band`.
    ignore_id
        True label whose pixels are not counted; None for none.

    Raises
    ------
    DataError
        The shapes differ or are not (N, H, W), an array does not contain integers, or an id is out of range.
    """
    check_pair(truths, predictions, num_classes)
    if truths.ndim != 3:
        raise DataError(f"The label maps have shape {truths.shape}; expected a stack (N, H, W).")
    at_once = max(1, min(_BLOCK // max(1, truths[0:1].size), _BINS // (_SIDES * num_classes**2)))
    parts = [ImageCounts.of_histograms(np.zeros((0, _SIDES, num_classes, num_classes), np.int64))]
    for start in range(0, len(truths), at_once):
        part = slice(start, start + at_once)
        parts.append(
            _count_part(truths[part], predictions[part], num_classes, width=boundary_width, ignore_id=ignore_id)
        )
    return ImageCounts.joined(parts)


def _count_part(
    truths: IntegerArray, predictions: IntegerArray, num_classes: int, *, width: int, ignore_id: int | None
) -> ImageCounts:
    kept = None if ignore_id is None else truths != ignore_id
    if kept is None or kept.all():
        kept = None
        counted = truths, predictions
    else:
        predictions = np.where(kept, predictions, truths)
        if predictions.dtype.kind == "f":  # numpy's common type of int64 and uint64
            predictions = predictions.astype(np.int64)
        counted = truths[kept], predictions[kept]
    for name, labels in zip(("truth", "prediction"), counted, strict=True):
        check_range(labels, num_classes, name)
    return ImageCounts.of_histograms(_histograms(truths, predictions, kept, num_classes, width))


def _histograms(
    truths: IntegerArray, predictions: IntegerArray, kept: npt.NDArray[np.bool_] | None, num_classes: int, width: int
) -> Int64Array:
    """Return the pixels by image, position to the outlines, true and predicted class: int64 (n, 4, K, K)."""
    shape = (len(truths), _SIDES, num_classes, num_classes)
    counts = np.zeros(int(np.prod(shape)), np.int64)
    for rows, halo in _row_bands(truths.shape[1], truths.shape[2], width):
        inner = slice(rows.start - halo.start, rows.stop - halo.start)
        sides, in_truth = (
            boundary_band(labels[:, halo], width)[:, inner].view(np.uint8) for labels in (predictions, truths)
        )
        sides += in_truth  # twice: adding bytes is faster than shifting them
        sides += in_truth
        codes = _codes(truths[:, rows], predictions[:, rows], sides, num_classes)
        codes = codes.reshape(-1) if kept is None else codes[kept[:, rows]]
        counts += np.bincount(codes, minlength=counts.size)
    return counts.reshape(shape)


def _codes(
    truths: IntegerArray, predictions: IntegerArray, sides: npt.NDArray[np.uint8], num_classes: int
) -> npt.NDArray[np.integer[Any]]:
    """Return the position of each pixel in the histograms, (n, h, w)."""
    bins = _SIDES * num_classes**2
    dtype = np.dtype(np.uint16 if len(truths) * bins <= _BINS else np.intp)
    codes = sides.astype(dtype)
    codes *= dtype.type(num_classes)
    codes += truths.astype(dtype, copy=False)
    codes *= dtype.type(num_classes)
    codes += predictions.astype(dtype, copy=False)
    codes += (np.arange(len(truths)) * bins).astype(dtype)[:, np.newaxis, np.newaxis]
    return codes


def _row_bands(height: int, row: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield bands of rows that cover an image once and fit in the cache, and the rows that their outlines need."""
    rows = max(1, _BLOCK // max(1, row), 4 * width)
    for first in range(0, height, rows):
        last = min(height, first + rows)
        yield slice(first, last), slice(max(0, first - width), min(height, last + width))


def _diagonal(matrices: Int64Array) -> Int64Array:
    return np.diagonal(matrices, axis1=1, axis2=2).copy()
