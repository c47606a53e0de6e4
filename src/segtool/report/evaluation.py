"""The pictures of `segtool evaluate`: the confusion matrix, sample predictions, and differences of two models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import IndexArray, IntegerArray
from segtool.data.base import Dataset, Size
from segtool.errors import DataError
from segtool.evaluate.comparison import Comparisons
from segtool.evaluate.evaluate import EvaluateOptions, Progress, compare, evaluate, refuse_outputs
from segtool.evaluate.evaluation import Evaluation
from segtool.files import named_twice
from segtool.images.image_io import resize_labels
from segtool.models.predictor import Predictor
from segtool.report.confusion import plot_confusion
from segtool.report.pictures import labels_of, plot_differences, plot_predictions
from segtool.report.style import require_matplotlib
from segtool.text import percent, short_names

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawings:
    """The pictures of an evaluation.

    Attributes
    ----------
    confusion
        PNG file for the confusion matrix of one model.
    pictures, samples
        PNG file for images with truth and predictions side by side, and the number of images: for one model the
        first ones, for several those on which the second differs most from the first.
    """

    confusion: Path | None = None
    pictures: Path | None = None
    samples: int = 6

    @property
    def files(self) -> list[Path]:
        """The requested files."""
        return [path for path in (self.confusion, self.pictures) if path is not None]


def wrong_drawings(drawings: Drawings, models: Sequence[object], per_image: Path | None) -> str | None:
    """Return the message for drawings that these models or this CSV file exclude; None if they are valid."""
    for what, path in (("confusion matrix", drawings.confusion), ("pictures", drawings.pictures)):
        if path is not None and path.suffix.lower() != ".png":
            return f"The output {path} for the {what} does not end in .png, expected a PNG file; change its name."
    if len(models) > 1 and drawings.confusion is not None:
        return f"A confusion matrix (--confusion) needs one model, but {len(models)} are given; name one model."
    if twice := named_twice([*drawings.files, *([] if per_image is None else [per_image])]):
        return f"{twice} is named for two outputs, expected a different file for each; choose another name."
    return None


def evaluate_and_draw(
    models: Sequence[str | Path],
    *,
    options: EvaluateOptions,
    drawings: Drawings,
    progress: Progress | None = None,
) -> Evaluation | Comparisons:
    """Score one model, or compare several, and draw the requested pictures: the implementation of `segtool evaluate`.

    Parameters
    ----------
    models
        .onnx or .keras files or run folders; empty for the latest run.
    options
        The data and how to score, as in `segtool.evaluate.evaluate.evaluate`.
    drawings
        The pictures.
    progress
        Called with (images done, total images).

    Raises
    ------
    SegtoolError
        As in `evaluate` and `compare`, also for the pictures; or matplotlib is missing and pictures are requested.
    """
    if wrong := wrong_drawings(drawings, models, options.per_image):
        raise DataError(wrong)
    if drawings.files:
        require_matplotlib()
        refuse_outputs(models or [None], options, drawings.files)
    if len(models) > 1:
        compared = compare(models, options=options, progress=progress)
        return replace(compared, written=[*compared.written, *_draw_comparison(compared, drawings)])
    found = evaluate(models[0] if models else None, options=options, progress=progress)
    return replace(found, written=[*found.written, *_draw_evaluation(found, drawings)])


def _draw_evaluation(evaluation: Evaluation, drawings: Drawings) -> list[Path]:
    """Draw the requested pictures of one model; return their files."""
    selection = evaluation.selection
    subject = f"{evaluation.model.resolve().parent.name}/{evaluation.model.name} on {selection.data.name}"
    if drawings.confusion is not None:
        subject_of_all = f"{subject} ({selection.part}, {len(selection.indices)} images)"
        plot_confusion(
            evaluation.scores.matrix, evaluation.scores.class_names, drawings.confusion, subject=subject_of_all
        )
    if drawings.pictures is not None:
        chosen = selection.indices[: drawings.samples]
        predictor = evaluation.predictor
        # A model that tiles takes images of any size: the size of the first image is the size of all pictures.
        size = predictor.contract.height, predictor.contract.width
        size = size if predictor.answer_image is None else selection.data.label(int(chosen[0])).shape
        images, truths = selection.data.arrays(chosen, size=size)
        plot_predictions(
            images,
            truths,
            _labels(predictor, selection.data, chosen, size),
            drawings.pictures,
            classes=selection.data.classes,
            title=subject,
            names=[selection.data.sample_names[index] for index in chosen],
        )
    return drawings.files


def _draw_comparison(result: Comparisons, drawings: Drawings) -> list[Path]:
    """Draw the images on which the second model differs most from the first, if there is one; return the file."""
    if drawings.pictures is None:
        return []
    comparison = result.comparisons[0]
    places = comparison.differing[: drawings.samples]
    if not places:
        logger.warning("No picture was written: the models give every pixel the same label.")
        return []
    predictors = [comparison.first.predictor, comparison.second.predictor]
    selection = comparison.first.selection
    chosen = selection.indices[places]
    size = predictors[0].contract.height, predictors[0].contract.width
    images, truths = selection.data.arrays(chosen, size=size)
    plot_differences(
        images,
        truths,
        [_labels(predictor, selection.data, chosen, size) for predictor in predictors],
        drawings.pictures,
        names=short_names([each.path for each in predictors]),
        titles=[_row_title(comparison.image(at)) for at in places],
        classes=selection.data.classes,
    )
    return [drawings.pictures]


def _labels(predictor: Predictor, data: Dataset, chosen: IndexArray, size: Size) -> IntegerArray:
    """Return the labels (n, h, w) of a model for some images, at one size."""
    return np.stack([resize_labels(labels_of(predictor, data, int(index)), *size) for index in chosen])


def _row_title(image: Mapping[str, Any]) -> str:
    """Return the title above the pictures of one image."""
    figure = image["ranked_by"].replace("_", " ").replace("iou", "IoU")
    return (
        f"{image['image']}: {percent(image['label_agreement'], 1)} % of the labels are equal; {figure} of this image "
        f"{percent(image['first'], 1)} % and {percent(image['second'], 1)} %"
    )
