"""The pictures of `segtool evaluate`: sample predictions, and differences of two models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from segtool.models.predictor import Predictor
from segtool.report.pictures import labels_of, plot_differences, plot_predictions
from segtool.text import percent, short_names

logger = logging.getLogger(__name__)

SAMPLES = 6
"""The number of images in a picture by default."""


def wrong_pictures(pictures: Path | None, per_image: Path | None) -> str | None:
    """Return the message for a PNG file with a wrong name, or that of the CSV file; None if it is valid."""
    if pictures is None:
        return None
    if pictures.suffix.lower() != ".png":
        return f"The output {pictures} for the pictures does not end in .png, expected a PNG file; change its name."
    if per_image is not None and (twice := named_twice([pictures, per_image])):
        return f"{twice} is named for two outputs, expected a different file for each; choose another name."
    return None


def evaluate_and_draw(
    models: Sequence[str | Path],
    *,
    options: EvaluateOptions,
    pictures: Path | None = None,
    samples: int = SAMPLES,
    progress: Progress | None = None,
) -> Evaluation | Comparisons:
    """Score one model, or compare several, and draw pictures on request: the implementation of `segtool evaluate`.

    Parameters
    ----------
    models
        .onnx or .keras files or run folders; empty for the latest run.
    options
        The data and how to score, as in `segtool.evaluate.evaluate.evaluate`.
    pictures, samples
        PNG file for images with truth and predictions side by side, and the number of images: for one model the first
        ones, for several those on which the second differs most from the first. Without a file nothing is drawn.
    progress
        Called with (images done, total images).

    Raises
    ------
    SegtoolError
        As in `evaluate` and `compare`, also for the pictures.
    """
    if wrong := wrong_pictures(pictures, options.per_image):
        raise DataError(wrong)
    if pictures is not None:
        refuse_outputs(models or [None], options, [pictures])
    found = (
        compare(models, options=options, progress=progress)
        if len(models) > 1
        else evaluate(models[0] if models else None, options=options, progress=progress)
    )
    if pictures is None:
        return found
    if isinstance(found, Evaluation):
        _draw_evaluation(found, pictures, samples)
    elif not _draw_comparison(found, pictures, samples):
        logger.warning("No picture was written: the models give every pixel the same label.")
        return found
    return replace(found, written=[*found.written, pictures])


def _draw_evaluation(evaluation: Evaluation, path: Path, samples: int) -> None:
    """Draw the first images of one model."""
    selection, predictor = evaluation.selection, evaluation.predictor
    chosen = selection.indices[:samples]
    # A model that tiles takes images of any size: the size of the first image is the size of all pictures.
    size = predictor.contract.size
    size = size if predictor.answer_image is None else selection.data.label(int(chosen[0])).shape
    images, truths = selection.data.arrays(chosen, size=size)
    plot_predictions(
        images,
        truths,
        _labels(predictor, selection.data, chosen, size),
        path,
        classes=selection.data.classes,
        title=f"{evaluation.model.resolve().parent.name}/{evaluation.model.name} on {selection.data.name}",
        names=selection.names[:samples],
    )


def _draw_comparison(result: Comparisons, path: Path, samples: int) -> bool:
    """Draw the images on which the second model differs most from the first; return whether there is one."""
    comparison = result.comparisons[0]
    places = comparison.differing[:samples]
    if not places:
        return False
    predictors = [comparison.first.predictor, comparison.second.predictor]
    selection = comparison.first.selection
    chosen = selection.indices[places]
    size = predictors[0].contract.size
    images, truths = selection.data.arrays(chosen, size=size)
    plot_differences(
        images,
        truths,
        [_labels(predictor, selection.data, chosen, size) for predictor in predictors],
        path,
        names=short_names([each.path for each in predictors]),
        titles=[_row_title(comparison.image(at)) for at in places],
        classes=selection.data.classes,
    )
    return True


def _labels(predictor: Predictor, data: Dataset, chosen: IndexArray, size: Size) -> IntegerArray:
    """Return the labels (n, h, w) of a model for some images, at one size."""
    return np.stack([labels_of(predictor, data, int(index), size) for index in chosen])


def _row_title(image: Mapping[str, Any]) -> str:
    """Return the title above the pictures of one image."""
    figure = image["ranked_by"].replace("_", " ").replace("iou", "IoU")
    return (
        f"{image['image']}: {percent(image['label_agreement'], 1)} % of the labels are equal; {figure} of this image "
        f"{percent(image['first'], 1)} % and {percent(image['second'], 1)} %"
    )
