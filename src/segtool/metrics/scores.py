"""The scores of a model on a set of images, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array, Int64Array
from segtool.errors import DataError
from segtool.metrics.overlap import ClassSums, mean_of_present

CONVENTION = (
    "One confusion matrix over all images; IoU = TP / (TP + FP + FN), Dice = 2 TP / (2 TP + FP + FN), in float64; "
    "a class in neither truth nor prediction is excluded from means, one predicted but absent scores 0. "
    "Foreground means exclude the background class; pixels of the ignore id are not counted."
)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a model on a set of images; `CONVENTION` defines them.

    Attributes
    ----------
    class_names
        Name of class id 0, 1, ...
    pixel_accuracy
        Fraction of pixels with the correct class, 0..1; NaN without any pixel.
    mean_iou, mean_dice
        Means over all classes that occur in truth or prediction.
    foreground_mean_iou, foreground_mean_dice
        The same without the background class; equal to the means over all classes without a background.
    frequency_weighted_iou
        Mean of the IoU of the classes, weighted by their fraction of the true pixels; NaN without any pixel.
    iou, dice
        float64 (K,); NaN for a class that does not occur.
    support
        int64 (K,): true pixels of each class.
    matrix
        int64 (K, K) confusion matrix, rows truth, columns prediction.
    images
        Number of counted images.
    """

    class_names: tuple[str, ...]
    pixel_accuracy: float
    mean_iou: float
    mean_dice: float
    foreground_mean_iou: float
    foreground_mean_dice: float
    frequency_weighted_iou: float
    iou: Float64Array
    dice: Float64Array
    support: npt.NDArray[np.int64]
    matrix: Int64Array
    images: int

    @classmethod
    def from_matrix(
        cls, matrix: Int64Array, *, class_names: Sequence[str], background_id: int | None, images: int
    ) -> Scores:
        """Compute all scores from a confusion matrix (K, K) over `images` images."""
        if matrix.shape != (len(class_names), len(class_names)):
            raise DataError(f"A confusion matrix of shape {matrix.shape} does not fit {len(class_names)} class names.")
        sums = ClassSums.of_matrix(matrix)
        iou, dice = sums.iou(), sums.dice()
        foreground = foreground_of(len(class_names), background_id)
        return cls(
            class_names=tuple(class_names),
            pixel_accuracy=float(sums.accuracy()),
            mean_iou=float(mean_of_present(iou)),
            mean_dice=float(mean_of_present(dice)),
            foreground_mean_iou=float(mean_of_present(iou[foreground])),
            foreground_mean_dice=float(mean_of_present(dice[foreground])),
            frequency_weighted_iou=float(sums.frequency_weighted_iou()),
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
            "frequency_weighted_iou": self.frequency_weighted_iou,
            "classes": [
                {"id": index, "name": name, "iou": iou, "dice": dice, "support": support}
                for index, (name, iou, dice, support) in enumerate(rows)
            ],
            "images": self.images,
            "convention": CONVENTION,
            "confusion_matrix": self.matrix.tolist(),
        }


def foreground_of(count: int, background_id: int | None) -> npt.NDArray[np.bool_]:
    """Return the classes of the foreground means, bool (count,): all except the background."""
    kept: npt.NDArray[np.bool_] = np.arange(count) != (-1 if background_id is None else background_id)
    return kept


def most_frequent(classes: Sequence[Mapping[str, Any]]) -> tuple[str, float] | None:
    """Return the most frequent class of the truth and its fraction: the accuracy of predicting it everywhere.

    Parameters
    ----------
    classes
        As in an evaluation's JSON: the `name` of each and its `support`, the number of its true pixels.

    Returns
    -------
    tuple of str and float, or None
        The name and the fraction, above 0 to 1; None without any counted pixel.
    """
    pixels = sum(item["support"] for item in classes)
    if not pixels:
        return None
    usual = max(classes, key=lambda item: item["support"])
    return str(usual["name"]), usual["support"] / pixels
