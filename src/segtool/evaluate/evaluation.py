"""The result of an evaluation, and its output formats: the JSON and the CSV of `segtool evaluate`.

The object of ``segtool evaluate MODEL --json`` (`Evaluation.to_dict`; fractions are 0..1, undefined values are null):

``model``, ``data``, ``split``, ``data_fingerprint``, ``images``
    The model and the scored data; ``images`` is a count. ``provider`` and related keys for an .onnx file.
``pixel_accuracy``, ``mean_iou``, ``mean_dice``, ``foreground_mean_iou``, ``foreground_mean_dice``,
``frequency_weighted_iou``, ``mean_boundary_iou``, ``foreground_mean_boundary_iou``
    Data-set-level figures, from one confusion matrix over all images (``level`` is "data set").
``classes``
    A list of ``{id, name, iou, dice, support, precision, recall, predicted, boundary_iou, images, intervals}``:
    ``support`` and ``predicted`` are counts of true and predicted pixels. ``images`` is the number of images with the
    class in their truth. ``intervals`` is ``{iou, dice, boundary_iou}`` of ``[low, high]``.
``confusion_matrix``, ``confusion_matrix_normalized``
    K rows (truth) of K numbers (prediction): pixels, and fractions of each row; a row without a true pixel is null.
``convention``
    One paragraph with the definition of the figures.
``boundary``
    ``{width_pixels: [least, most], convention}``: the boundary widths of boundary IoU.
``calibration``
    ``{available: true, expected_calibration_error, bins: [{low, high, pixels, accuracy, confidence}], convention}``
    or ``{available: false, reason, convention}``.
``intervals``
    ``{method, level, resamples, seed, figures: {FIGURE: [low, high]}}``. With fewer than two images ``figures`` is null
    and ``reason`` says why.
``per_image``
    Image-level figures: ``{level: "image", convention, mean: {FIGURE}, median: {FIGURE}, counted: {FIGURE}, ranked_by,
    worst: [...], best: [...]}``. ``counted`` is the number of images in which the figure is defined. ``worst`` and
    ``best`` hold up to ten of ``{index, image, FIGURE...}``, ranked by the figure ``ranked_by``; images without it are
    excluded. ``index`` is the position in the data set. The CSV of ``--per-image`` has all images.

FIGURE is each of the eight names above. With two or more models the object is that of `segtool.evaluate.comparison`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array
from segtool.evaluate.scoring import Tally
from segtool.evaluate.selection import Selection
from segtool.metrics import BOUNDARY_CONVENTION, CALIBRATION_CONVENTION, Bootstrap, Scores, row_shares
from segtool.metrics.figures import FIGURES, figures_of_all, figures_per_image
from segtool.metrics.overlap import precision_per_class, recall_per_class
from segtool.metrics.scores import foreground_of
from segtool.models.predictor import Predictor

IMAGE_CONVENTION = (
    "Image-level figures come from the pixels of each image. A class in neither truth nor prediction of an image is "
    "excluded from its means, so they are not comparable with the data-set-level figures."
)
LISTED = 10  # number of best and of worst images in the JSON


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a model, and the images that they were measured on.

    Attributes
    ----------
    predictor
        The model.
    selection
        The images.
    tally
        The counts of each image.
    bootstrap
        How intervals are computed.
    boundary_widths
        Smallest and largest width of the boundaries, in pixels.
    no_probabilities
        Why there is no calibration error; empty if there is one.
    written
        Files that were also written.
    """

    predictor: Predictor
    selection: Selection
    tally: Tally
    bootstrap: Bootstrap
    boundary_widths: tuple[int, int]
    no_probabilities: str = ""
    written: Sequence[Path] = field(default_factory=tuple)

    @property
    def model(self) -> Path:
        """The model's file."""
        return self.predictor.path

    @property
    def provider(self) -> Mapping[str, Any]:
        """The provider report of the model; empty for a .keras file."""
        return self.predictor.provider_report

    @cached_property
    def scores(self) -> Scores:
        """The data-set-level scores."""
        data = self.selection.data
        return Scores.from_matrix(
            self.tally.counts.matrix,
            class_names=data.class_names,
            background_id=data.background_id,
            images=len(self.tally.counts),
        )

    @cached_property
    def figures(self) -> dict[str, float]:
        """`FIGURES` of all images together."""
        return {name: float(value) for name, value in self._of_all[0].items()}

    @property
    def class_figures(self) -> dict[str, Float64Array]:
        """IoU, Dice and boundary IoU of each class, float64 (K,)."""
        return self._of_all[1]

    @cached_property
    def per_image(self) -> dict[str, Float64Array]:
        """`FIGURES` of each image, float64 (N,), in the order of the selection."""
        return figures_per_image(self.tally.counts, self.foreground)

    @cached_property
    def resampled(self) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        """The figures of each resample of the images, (resamples,), and per class, (resamples, K)."""
        return self.bootstrap.figures(self.tally.counts, self.foreground)

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        """The classes in foreground means, bool (K,)."""
        data = self.selection.data
        return foreground_of(data.num_classes, data.background_id)

    @property
    def ranked_by(self) -> str:
        """The figure that images are ranked by: foreground mean IoU, or mean IoU if no image has the former."""
        usual = "foreground_mean_iou"
        return usual if not np.isnan(self.per_image[usual]).all() else "mean_iou"

    def intervals(self) -> dict[str, list[float]] | None:
        """Return [low, high] of every figure; None with fewer than two images."""
        if len(self.tally.counts) < 2:
            return None
        return {name: self.bootstrap.interval(values).to_list() for name, values in self.resampled[0].items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the object of ``evaluate --json``, described at the top of the module."""
        data = self.selection.data
        return {
            "model": str(self.model),
            "data": data.spec,
            "split": self.selection.part,
            "data_fingerprint": data.fingerprint(),
            **self.provider,
            "level": "data set",
            **self.figures,
            **self.scores.to_dict(),
            "classes": self._classes(),
            "confusion_matrix_normalized": self._normalized(),
            "boundary": {"width_pixels": list(self.boundary_widths), "convention": BOUNDARY_CONVENTION},
            "calibration": self._calibration(),
            "intervals": self._intervals(),
            "per_image": self._per_image(),
        }

    @cached_property
    def _of_all(self) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        return figures_of_all(self.tally.counts, self.foreground)

    def _classes(self) -> list[dict[str, Any]]:
        counts, matrix = self.tally.counts, self.tally.counts.matrix
        columns: dict[str, list[Any]] = {
            "precision": precision_per_class(matrix).tolist(),
            "recall": recall_per_class(matrix).tolist(),
            "predicted": matrix.sum(axis=0).tolist(),
            "boundary_iou": self.class_figures["boundary_iou"].tolist(),
            "images": (counts.truth > 0).sum(axis=0).tolist(),
            "intervals": self._class_intervals(),
        }
        rows: list[dict[str, Any]] = self.scores.to_dict()["classes"]
        return [{**row, **{name: values[row["id"]] for name, values in columns.items()}} for row in rows]

    def _class_intervals(self) -> list[dict[str, list[float]] | None]:
        count = self.selection.data.num_classes
        if len(self.tally.counts) < 2:
            return [None] * count
        return [
            {name: self.bootstrap.interval(values[:, at]).to_list() for name, values in self.resampled[1].items()}
            for at in range(count)
        ]

    def _normalized(self) -> list[list[float] | None]:
        shares = row_shares(self.tally.counts.matrix)
        return [None if np.isnan(row).any() else row.tolist() for row in shares]

    def _calibration(self) -> dict[str, Any]:
        if self.tally.calibration is None:
            return {"available": False, "reason": self.no_probabilities, "convention": CALIBRATION_CONVENTION}
        return {"available": True, **self.tally.calibration.to_dict(), "convention": CALIBRATION_CONVENTION}

    def _intervals(self) -> dict[str, Any]:
        figures = self.intervals()
        reason = {} if figures else {"reason": "An interval needs at least two images to resample."}
        return {**self.bootstrap.describe(), "figures": figures, **reason}

    def _per_image(self) -> dict[str, Any]:
        known = {name: values[~np.isnan(values)] for name, values in self.per_image.items()}
        order = self._ranked()
        return {
            "level": "image",
            "convention": IMAGE_CONVENTION,
            "mean": {name: float(values.mean()) if values.size else math.nan for name, values in known.items()},
            "median": {name: float(np.median(values)) if values.size else math.nan for name, values in known.items()},
            "counted": {name: int(values.size) for name, values in known.items()},
            "ranked_by": self.ranked_by,
            "worst": [self._image(at) for at in order[:LISTED]],
            "best": [self._image(at) for at in order[::-1][:LISTED]],
        }

    def _ranked(self) -> list[int]:
        """Return the positions of the images in the selection, worst first, without those that lack the figure."""
        values = self.per_image[self.ranked_by]
        order = np.argsort(values, kind="stable")
        return [int(at) for at in order if not np.isnan(values[at])]

    def _image(self, at: int) -> dict[str, Any]:
        names = {"index": int(self.selection.indices[at]), "image": self.selection.names[at]}
        return {**names, **{name: float(self.per_image[name][at]) for name in FIGURES}}


def per_image_table(evaluations: Sequence[Evaluation]) -> str:
    """Return the figures of each image as CSV, one row per image and model; several models add a column `model`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = len(evaluations) > 1
    writer.writerow([*(["model"] if several else []), "image", *(f"image_{name}" for name in FIGURES)])
    for evaluation in evaluations:
        columns = [evaluation.per_image[name].tolist() for name in FIGURES]
        for name, *values in zip(evaluation.selection.names, *columns, strict=True):
            shown = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
            writer.writerow([*([str(evaluation.model)] if several else []), name, *shown])
    return text.getvalue()
