"""Scores from a confusion matrix, or from its three sums per class: IoU, Dice, recall, precision.

IoU is the Jaccard index, TP / (TP + FP + FN); Dice is the F1 score, 2 TP / (2 TP + FP + FN): Taha and Hanbury,
"Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15:29 (2015), equations 6 and 8.
Frequency-weighted IoU: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation",
CVPR 2015, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Pixels of each class, float64 (..., K); leading axes are images, resamples or other groups.

    Attributes
    ----------
    hits
        Correct pixels (TP).
    truth
        True pixels (TP + FN).
    prediction
        Predicted pixels (TP + FP).
    """

    hits: Float64Array
    truth: Float64Array
    prediction: Float64Array

    @classmethod
    def of_matrix(cls, matrix: npt.NDArray[np.integer[Any]]) -> ClassSums:
        """Return the sums of a confusion matrix (..., K, K), rows truth, columns prediction."""
        counts = matrix.astype(np.float64)
        return cls(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2))

    def total(self) -> ClassSums:
        """Return the sums over the first axis."""
        return ClassSums(self.hits.sum(axis=0), self.truth.sum(axis=0), self.prediction.sum(axis=0))

    def iou(self, *, smoothing: float = 0.0) -> Float64Array:
        """Return IoU (..., K), 0..1; NaN for a class in neither truth nor prediction."""
        return ratio(self.hits, self.truth + self.prediction - self.hits, smoothing)

    def dice(self, *, smoothing: float = 0.0) -> Float64Array:
        """Return Dice (..., K), 0..1; NaN for a class in neither truth nor prediction."""
        return ratio(2.0 * self.hits, self.truth + self.prediction, smoothing)

    def accuracy(self) -> Float64Array:
        """Return the fraction of pixels with the correct class (...); NaN without any pixel."""
        return ratio(self.hits.sum(axis=-1), self.truth.sum(axis=-1))

    def frequency_weighted_iou(self) -> Float64Array:
        """Return the mean of IoU weighted by the true pixels of each class (...); NaN without any pixel."""
        weighted = np.where(self.truth > 0, self.truth * np.nan_to_num(self.iou()), 0.0)
        return ratio(weighted.sum(axis=-1), self.truth.sum(axis=-1))


def iou_per_class(matrix: npt.NDArray[np.integer[Any]], *, smoothing: float = 0.0) -> Float64Array:
    """Return the intersection over union of each class, TP / (TP + FP + FN + smoothing).

    Parameters
    ----------
    matrix
        Confusion matrix (K, K), rows truth, columns prediction.
    smoothing
        Added to the denominator, as some implementations do (1e-5 in the project's source).

    Returns
    -------
    numpy.ndarray
        float64 (K,), 0..1; NaN for a class in neither truth nor prediction.
    """
    return ClassSums.of_matrix(matrix).iou(smoothing=smoothing)


def dice_per_class(matrix: npt.NDArray[np.integer[Any]], *, smoothing: float = 0.0) -> Float64Array:
    """Return the Dice score of each class, 2 TP / (2 TP + FP + FN + smoothing); as in `iou_per_class`."""
    return ClassSums.of_matrix(matrix).dice(smoothing=smoothing)


def recall_per_class(matrix: npt.NDArray[np.integer[Any]]) -> Float64Array:
    """Return TP / (TP + FN) of each class, float64 (K,); NaN for a class without a true pixel."""
    sums = ClassSums.of_matrix(matrix)
    return ratio(sums.hits, sums.truth)


def precision_per_class(matrix: npt.NDArray[np.integer[Any]]) -> Float64Array:
    """Return TP / (TP + FP) of each class, float64 (K,); NaN for a class without a predicted pixel."""
    sums = ClassSums.of_matrix(matrix)
    return ratio(sums.hits, sums.prediction)


def frequency_weighted_iou(matrix: npt.NDArray[np.integer[Any]]) -> float:
    """Return the mean of IoU, weighted by the fraction of true pixels of each class; NaN without any pixel."""
    return float(ClassSums.of_matrix(matrix).frequency_weighted_iou())


def row_shares(matrix: npt.NDArray[np.integer[Any]]) -> Float64Array:
    """Return the matrix (K, K) divided by its row sums, NaN in rows without a true pixel."""
    counts = matrix.astype(np.float64)
    return ratio(counts, np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape))


def ratio(numerator: Float64Array, denominator: Float64Array, smoothing: float = 0.0) -> Float64Array:
    """Return numerator / (denominator + smoothing), NaN if the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator + smoothing, out=result, where=denominator > 0)
    return result


def mean_of_present(values: Float64Array) -> Float64Array:
    """Return the mean over the last axis without NaN; NaN if no value is left (numpy.nanmean would warn)."""
    present = ~np.isnan(values)
    return ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1).astype(np.float64))
