"""Segmentation metrics in numpy: overlap, boundaries, calibration, and bootstrap intervals.

All figures are computed from integer counts in float64. The conventions, and the differences to other libraries (each
is tested in tests/property; docs/metrics.md is the version for users):

* IoU and Dice come from one confusion matrix over all images (data set level). A class in neither truth nor prediction
  is NaN and excluded from means; a class that is only predicted scores 0.
  scikit-learn's `jaccard_score` and `f1_score` give an absent class 0, or `zero_division`, and count it in macro means.
  torchmetrics' `multiclass_jaccard_index` gives it 0 for `average="none"` and excludes it from `"macro"`, as we do.
  MONAI's `compute_iou` and `compute_dice` (`ignore_empty`) give NaN, not 0, to a class that is only predicted.
* torchmetrics' `MeanIoU` and (by default) `DiceScore`, and MONAI's metrics, are means over images; this is our
  image-level figure. torchmetrics computes in float32, so it agrees only to about 1e-7.
* Pixels of the ignore id are not counted, whatever the prediction is. scikit-learn has no such id. torchmetrics'
  `ignore_index` removes the same pixels. If the ignore id is a class id, torchmetrics drops that class from the mean;
  here it scores 0 if it was predicted (segtool's data sets refuse such an id).
* Frequency-weighted IoU weighs each class by its true pixels, as `average="weighted"` does in both libraries.
* Boundary IoU follows Cheng et al. (2021): see `segtool.metrics.boundary`.
* The calibration error follows Guo et al. (2017), over pixels: see `segtool.metrics.calibration`.
  torchmetrics' `multiclass_calibration_error` puts a confidence of exactly 1 into an extra bin; here it belongs to the
  last of the 15 bins.
"""

from segtool.metrics.bootstrap import Bootstrap, Interval
from segtool.metrics.boundary import BOUNDARY_CONVENTION, boundary_band, default_width
from segtool.metrics.calibration import CALIBRATION_CONVENTION, Calibration
from segtool.metrics.counting import confusion_matrix
from segtool.metrics.images import ImageCounts, count_images
from segtool.metrics.overlap import (
    dice_per_class,
    frequency_weighted_iou,
    iou_per_class,
    precision_per_class,
    recall_per_class,
    row_shares,
)
from segtool.metrics.scores import CONVENTION, Scores, most_frequent

__all__ = [
    "BOUNDARY_CONVENTION",
    "CALIBRATION_CONVENTION",
    "CONVENTION",
    "Bootstrap",
    "Calibration",
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
