"""The pictures of `segtool evaluate`: the confusion matrix, sample predictions, and differences of two models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import IndexArray, IntegerArray, UInt8Array
from segtool.data.base import Dataset, Size
from segtool.evaluate.comparison import Comparisons
from segtool.evaluate.evaluate import EvaluateOptions
from segtool.evaluate.evaluation import Evaluation
from segtool.images.image_io import resize_labels
from segtool.models.predictor import Predictor
from segtool.models.resolve import RUN_NAME
from segtool.report.confusion import plot_confusion
from segtool.report.pictures import plot_differences, plot_predictions
from segtool.report.style import require_matplotlib
from segtool.text import percent

logger = logging.getLogger(__name__)


def require_drawing(options: EvaluateOptions) -> None:
    """Check that requested pictures can be drawn, before any work is done.

    Raises
    ------
    MissingExtraError
        Pictures are requested and matplotlib is not installed.
    """
    if options.pictures is not None or options.confusion is not None:
        require_matplotlib()


def draw_evaluation(evaluation: Evaluation, options: EvaluateOptions) -> Evaluation:
    """Draw the requested pictures of one model; return the evaluation with these files added to `written`.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        A file could not be written.
    """
    selection = evaluation.selection
    if options.confusion is not None:
        model, count = short_name(evaluation.model), len(selection.indices)
        subject = f"{model} on {selection.data.name} ({selection.part}, {count} images)"
        plot_confusion(evaluation.scores.matrix, evaluation.scores.class_names, options.confusion, subject=subject)
    if options.pictures is not None:
        chosen = selection.indices[: options.samples]
        plot_predictions(
            *_shown(evaluation.predictor, selection.data, chosen),
            options.pictures,
            classes=selection.data.classes,
            title=f"{short_name(evaluation.model)} on {selection.data.name}",
            names=[selection.data.sample_names[index] for index in chosen],
        )
    drawn = [path for path in (options.confusion, options.pictures) if path is not None]
    return replace(evaluation, written=[*evaluation.written, *drawn])


def draw_comparison(result: Comparisons, options: EvaluateOptions) -> Comparisons:
    """Draw the images on which the second model differs most from the first; nothing if there is none.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    if options.pictures is None:
        return result
    comparison = result.comparisons[0]
    places = comparison.differing[: options.samples]
    if not places:
        logger.warning("No picture was written: the models give every pixel the same label.")
        return result
    predictors = [comparison.first.predictor, comparison.second.predictor]
    selection = comparison.first.selection
    chosen = selection.indices[places]
    size = predictors[0].contract.height, predictors[0].contract.width
    images, truths = selection.data.arrays(chosen, size=size)
    plot_differences(
        images,
        truths,
        [_labels(predictor, selection.data, chosen, size) for predictor in predictors],
        options.pictures,
        names=_names(predictors),
        titles=[_row_title(comparison.image(at)) for at in places],
        classes=selection.data.classes,
    )
    return replace(result, written=[*result.written, options.pictures])


def short_name(model: Path) -> str:
    """Return the name of a model in pictures: its file name, with the folder for a file of a run."""
    in_run = (model.parent / RUN_NAME).is_file()
    return str(Path(model.resolve().parent.name, model.name)) if in_run else model.name


def _shown(predictor: Predictor, data: Dataset, chosen: IndexArray) -> tuple[UInt8Array, IntegerArray, IntegerArray]:
    """Return images, truths and predictions (n, h, w), at the size of the model, or of the first image if it tiles."""
    if predictor.answer_image is None:
        images, truths = data.arrays(chosen, size=(predictor.contract.height, predictor.contract.width))
        return images, truths, predictor.predict_batch(images)
    height, width = data.label(int(chosen[0])).shape
    images, truths = data.arrays(chosen, size=(height, width))
    answers = [predictor.answer_image(data.image(int(index)))[0] for index in chosen]
    return images, truths, np.stack([resize_labels(labels, height, width) for labels in answers])


def _labels(predictor: Predictor, data: Dataset, chosen: IndexArray, size: Size) -> IntegerArray:
    """Return the labels (n, H, W) of a model for some images, at the size of another model."""
    return np.stack([resize_labels(labels, *size) for labels in _shown(predictor, data, chosen)[2]])


def _names(predictors: Sequence[Predictor]) -> list[str]:
    """Return the file names of the models, with their folders if the names are equal."""
    names = [short_name(predictor.path) for predictor in predictors]
    if len(set(names)) == len(names):
        return names
    return [str(Path(predictor.path.parent.name, predictor.path.name)) for predictor in predictors]


def _row_title(image: Mapping[str, Any]) -> str:
    """Return the title above the pictures of one image."""
    figure = image["ranked_by"].replace("_", " ").replace("iou", "IoU")
    return (
        f"{image['image']}: {percent(image['label_agreement'], 1)} % of the labels are equal; {figure} of this image "
        f"{percent(image['first'], 1)} % and {percent(image['second'], 1)} %"
    )
