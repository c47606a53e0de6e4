"""Segmentation metrics in numpy alone: overlap, boundaries, calibration, and intervals by the bootstrap.

Everything is computed from integer counts in float64. The conventions, and where other libraries differ (each is tested
in tests/property; docs/metrics.md is the same for users):

* IoU and Dice come from one confusion matrix over all images (the level of the data set). A class in neither truth nor
  prediction is NaN and left out of means; one that was predicted but is absent scores 0.
  scikit-learn's `jaccard_score` and `f1_score` give an absent class 0, or `zero_division`, and count it in macro means.
  torchmetrics' `multiclass_jaccard_index` gives it 0 for `average="none"` and leaves it out of `"macro"`, as we do.
  MONAI's `compute_iou` and `compute_dice` (`ignore_empty`) make a class that is only predicted NaN, not 0.
* torchmetrics' `MeanIoU` and (by default) `DiceScore`, and MONAI's metrics, are means over images; that is our
  image-level figure. torchmetrics computes in float32, and so agrees to about 1e-7 only.
* Pixels of the ignore id count nowhere, whatever was predicted there. scikit-learn knows no such id. torchmetrics'
  `ignore_index` removes the same pixels; where it is itself a class id, torchmetrics drops that class from the mean,
  and here it scores 0 where it was predicted (segtool's data sets refuse such an id).
* Frequency-weighted IoU weighs each class by its true pixels, as `average="weighted"` does in both libraries.
* Boundary IoU is that of Cheng et al. (2021): see `segtool.metrics.boundary`.
* The calibration error is that of Guo et al. (2017) over pixels: see `segtool.metrics.calibration`.
  torchmetrics' `multiclass_calibration_error` puts a confidence of exactly 1 in a bin of its own; here it belongs to
  the last of the 15.
"""

from segtool.metrics.bootstrap import Bootstrap, Interval
from segtool.metrics.boundary import BOUNDARY_CONVENTION, boundary_band, default_width
from segtool.metrics.calibration import CALIBRATION_CONVENTION, Calibration
from segtool.metrics.counting import CountMatrix, confusion_matrix
from segtool.metrics.images import ImageCounts, count_images
from segtool.metrics.overlap import (
    dice_per_class,
    frequency_weighted_iou,
    iou_per_class,
    precision_per_class,
    recall_per_class,
    row_shares,
)
from segtool.metrics.scores import CONVENTION, Scores
from segtool.metrics.trivial import most_frequent

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
    "most_frequent",
    "precision_per_class",
    "recall_per_class",
    "row_shares",
]
