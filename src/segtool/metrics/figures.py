"""Scalar figures of a set of images: of all images, of each image, or of each resample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array
from segtool.metrics.images import ImageCounts
from segtool.metrics.overlap import ClassSums, mean_of_present

FIGURES = (
    "pixel_accuracy",
    "mean_iou",
    "mean_dice",
    "foreground_mean_iou",
    "foreground_mean_dice",
    "frequency_weighted_iou",
    "mean_boundary_iou",
    "foreground_mean_boundary_iou",
)
PER_CLASS = ("iou", "dice", "boundary_iou")


def figures_of(
    sums: ClassSums, boundary: ClassSums, foreground: npt.NDArray[np.bool_]
) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
    """Return the figures and those of each class.

    Parameters
    ----------
    sums, boundary
        Sums of all pixels and of those near an outline, (..., K).
    foreground
        The classes of the foreground means, bool (K,).

    Returns
    -------
    tuple of dict
        `FIGURES`, float64 (...), and `PER_CLASS`, float64 (..., K); 0..1, NaN without any pixel.
    """
    classes = {"iou": sums.iou(), "dice": sums.dice(), "boundary_iou": boundary.iou()}
    figures = {"pixel_accuracy": sums.accuracy()}
    for name, values in classes.items():
        figures[f"mean_{name}"] = mean_of_present(values)
        figures[f"foreground_mean_{name}"] = mean_of_present(values[..., foreground])
    figures["frequency_weighted_iou"] = sums.frequency_weighted_iou()
    return {name: figures[name] for name in FIGURES}, classes


def figures_per_image(counts: ImageCounts, foreground: npt.NDArray[np.bool_]) -> dict[str, Float64Array]:
    """Return `FIGURES` of each image, float64 (N,); a class that does not occur in an image is excluded."""
    return figures_of(counts.sums(), counts.boundary_sums(), foreground)[0]


def figures_of_all(
    counts: ImageCounts, foreground: npt.NDArray[np.bool_]
) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
    """Return the figures of all images together, float64 () and (K,)."""
    return figures_of(counts.sums().total(), counts.boundary_sums().total(), foreground)
