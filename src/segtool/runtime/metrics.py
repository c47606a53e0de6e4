"""Segmentation metrics, all from one integer confusion matrix.

IoU is the Jaccard index, TP / (TP + FP + FN); Dice is the F1 score, 2 TP / (2 TP + FP + FN): Taha and Hanbury,
"Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15:29 (2015), equations 6 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError

FloatVector = npt.NDArray[np.float64]
CountMatrix = npt.NDArray[np.int64]

CONVENTION = (
    "One confusion matrix over all images; IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN), in float64; "
    "a class in neither truth nor prediction is left out of means, one predicted but absent scores 0. "
    "Foreground means leave the background class out; pixels of the ignore id count nowhere."
)

# Pixels counted at a time: bounds the memory of the 8-byte codes that bincount works on, and keeps them in cache.
_BLOCK = 1 << 18


def confusion_matrix(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    num_classes: int,
    *,
    ignore_id: int | None = None,
) -> CountMatrix:
    """Count the pixels of every (true class, predicted class) pair.

    Parameters
    ----------
    truth, prediction
        Class ids, integer arrays of one shape.
    num_classes
        Number of classes K; ids are 0..K-1.
    ignore_id
        True label whose pixels are left out; None for none.

    Returns
    -------
    numpy.ndarray
        int64 (K, K): rows are the truth, columns the prediction. Matrices of several images add up.

    Raises
    ------
    DataError
        The shapes differ, an array is not of integers, or an id is out of range.
    """
    _check_pair(truth, prediction, num_classes)
    flat_truth, flat_prediction = truth.reshape(-1), prediction.reshape(-1)
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    for start in range(0, flat_truth.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        counts += _count_block(flat_truth[block], flat_prediction[block], num_classes, ignore_id)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(matrix: npt.NDArray[np.integer[Any]], *, smoothing: float = 0.0) -> FloatVector:
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
    hits, either = _hits_and_sums(matrix)
    union = either - hits
    return _ratio(hits, union, smoothing)


def dice_per_class(matrix: npt.NDArray[np.integer[Any]], *, smoothing: float = 0.0) -> FloatVector:
    """Return the Dice score of each class, 2 TP / (2 TP + FP + FN + smoothing); as in `iou_per_class`."""
    hits, either = _hits_and_sums(matrix)
    return _ratio(2.0 * hits, either, smoothing)


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model scored on a set of images; `CONVENTION` states how.

    Attributes
    ----------
    class_names
        Name of class id 0, 1, ...
    pixel_accuracy
        Share of pixels with the right class, 0..1; NaN without any pixel.
    mean_iou, mean_dice
        Means over all classes that occur in truth or prediction.
    foreground_mean_iou, foreground_mean_dice
        The same without the background class; equal to the means over all where there is none.
    iou, dice
        float64 (K,); NaN for a class that does not occur.
    support
        int64 (K,): true pixels of each class.
    matrix
        int64 (K, K) confusion matrix, rows truth, columns prediction.
    images
        Number of images that were counted.
    """

    class_names: tuple[str, ...]
    pixel_accuracy: float
    mean_iou: float
    mean_dice: float
    foreground_mean_iou: float
    foreground_mean_dice: float
    iou: FloatVector
    dice: FloatVector
    support: npt.NDArray[np.int64]
    matrix: CountMatrix
    images: int

    @classmethod
    def from_matrix(
        cls, matrix: CountMatrix, *, class_names: Sequence[str], background_id: int | None, images: int
    ) -> Scores:
        """Compute every score from a confusion matrix (K, K) over `images` images."""
        if matrix.shape != (len(class_names), len(class_names)):
            raise DataError(f"A confusion matrix of shape {matrix.shape} does not fit {len(class_names)} class names.")
        iou, dice = iou_per_class(matrix), dice_per_class(matrix)
        foreground = np.arange(len(class_names)) != (-1 if background_id is None else background_id)
        total = int(matrix.sum())
        return cls(
            class_names=tuple(class_names),
            pixel_accuracy=int(np.trace(matrix)) / total if total else float("nan"),
            mean_iou=_mean_of_present(iou),
            mean_dice=_mean_of_present(dice),
            foreground_mean_iou=_mean_of_present(iou[foreground]),
            foreground_mean_dice=_mean_of_present(dice[foreground]),
            iou=iou,
            dice=dice,
            support=matrix.sum(axis=1),
            matrix=matrix,
            images=images,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the scores under the keys of ``evaluate --json``, in plain Python types; NaN stays NaN."""
        rows = zip(self.class_names, self.iou.tolist(), self.dice.tolist(), self.support.tolist(), strict=True)
        return {
            "pixel_accuracy": self.pixel_accuracy,
            "mean_iou": self.mean_iou,
            "mean_dice": self.mean_dice,
            "foreground_mean_iou": self.foreground_mean_iou,
            "foreground_mean_dice": self.foreground_mean_dice,
            "classes": [
                {"id": index, "name": name, "iou": iou, "dice": dice, "support": support}
                for index, (name, iou, dice, support) in enumerate(rows)
            ],
            "images": self.images,
            "convention": CONVENTION,
            "confusion_matrix": self.matrix.tolist(),
        }


def _check_pair(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int) -> None:
    if num_classes < 1:
        raise DataError(f"A confusion matrix needs at least one class, {num_classes} were given.")
    if truth.shape != prediction.shape:
        raise DataError(f"The truth has shape {truth.shape} and the prediction {prediction.shape}; expected the same.")
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.dtype.kind not in "iub":
            raise DataError(f"The {name} is {labels.dtype}; expected integer class ids.")


def _count_block(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int, ignore_id: int | None
) -> CountMatrix:
    """Return the flat counts, int64 (K * K,), of one block of pixels."""
    if ignore_id is not None:
        counted = truth != ignore_id
        if not counted.all():
            truth, prediction = truth[counted], prediction[counted]
    for name, labels in (("truth", truth), ("prediction", prediction)):
        _check_range(labels, num_classes, name)
    # Up to 256 classes a code fits in 16 bits, and the arithmetic is four times narrower than bincount's own type.
    code_dtype = np.dtype(np.uint16 if num_classes <= 256 else np.intp)
    codes: npt.NDArray[Any] = truth.astype(code_dtype) * code_dtype.type(num_classes)
    codes += prediction.astype(code_dtype, copy=False)
    return np.bincount(codes, minlength=num_classes * num_classes).astype(np.int64, copy=False)


def _check_range(labels: npt.NDArray[Any], num_classes: int, name: str) -> None:
    if labels.size == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        found = low if low < 0 else high
        raise DataError(
            f"The {name} holds the id {found}; expected 0..{num_classes - 1}, or the ignore id in the truth."
        )


def _hits_and_sums(matrix: npt.NDArray[np.integer[Any]]) -> tuple[FloatVector, FloatVector]:
    """Return TP and (true pixels + predicted pixels) = 2 TP + FP + FN of each class."""
    counts = matrix.astype(np.float64)
    return np.diagonal(counts), counts.sum(axis=0) + counts.sum(axis=1)


def _ratio(numerator: FloatVector, denominator: FloatVector, smoothing: float) -> FloatVector:
    present = denominator > 0
    result = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator + smoothing, out=result, where=present)
    return result


def _mean_of_present(values: FloatVector) -> float:
    """Return the mean without NaN; NaN where nothing is left (numpy.nanmean would warn)."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
