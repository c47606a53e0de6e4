"""Segmentation metrics in numpy alone: overlap, boundaries, calibration, and intervals by the bootstrap.

Everything is computed from integer counts in float64. The conventions, and where other libraries differ:

* IoU and Dice come from one confusion matrix over all images (dataset level). A class in neither truth nor prediction
  is NaN and left out of means; one that was predicted but is absent scores 0. scikit-learn's `jaccard_score` and
  `f1_score` give an absent class 0, or `zero_division`, and count it in their macro mean; torchmetrics'
  `MulticlassJaccardIndex(average="macro")` leaves absent classes out as we do, its `average="none"` gives them 0, and
  its `MeanIoU` and `DiceScore` are means over images, not over the data set.
* Pixels of the ignore id count nowhere, whatever was predicted there. scikit-learn has no such id; torchmetrics'
  `ignore_index` removes the same pixels, but where it is a class id (0..K-1) that class stays in its macro mean.
* Frequency-weighted IoU weighs each class by its share of the true pixels, as torchmetrics' and scikit-learn's
  `average="weighted"` do.
* Boundary IoU is that of Cheng et al. (2021): see `segtool.runtime.metrics.boundary`.
* The calibration error is that of Guo et al. (2017) over pixels: see `segtool.runtime.metrics.calibration`.
"""

from segtool.runtime.metrics.bootstrap import Bootstrap, Interval
from segtool.runtime.metrics.boundary import BOUNDARY_CONVENTION, boundary_band, default_width
from segtool.runtime.metrics.calibration import CALIBRATION_CONVENTION, Calibration
from segtool.runtime.metrics.counting import CountMatrix, confusion_matrix
from segtool.runtime.metrics.images import ImageCounts, count_images
from segtool.runtime.metrics.overlap import (
    dice_per_class,
    frequency_weighted_iou,
    iou_per_class,
    precision_per_class,
    recall_per_class,
    row_shares,
)
from segtool.runtime.metrics.scores import CONVENTION, Scores

__all__ = [
    "BOUNDARY_CONVENTION",
    "CALIBRATION_CONVENTION",
    "CONVENTION",
    "Bootstrap",
    "Calibration",
    "CountMatrix",
    "ImageCounts",
    "Interval",
    "Scores",
    "boundary_band",
    "confusion_matrix",
    "count_images",
    "default_width",
    "dice_per_class",
    "frequency_weighted_iou",
    "iou_per_class",
    "precision_per_class",
    "recall_per_class",
    "row_shares",
]
