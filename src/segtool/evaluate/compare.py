"""Comparing models on the same images: what `segtool evaluate A B` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from segtool.data.arrays import Labels
from segtool.data.base import Size
from segtool.errors import DataError
from segtool.evaluate.comparison import Comparison, Comparisons
from segtool.evaluate.evaluate import (
    EvaluateOptions,
    Progress,
    check_outputs,
    evaluation_of,
    open_for,
    refuse_inputs,
    short_name,
    shown,
    tally_of,
    write_per_image,
)
from segtool.evaluate.selection import Selection, refuse_other_classes, select
from segtool.images.image_io import resize_labels
from segtool.models.predictor import Predictor
from segtool.report.tables import percent

logger = logging.getLogger(__name__)


def compare(models: Sequence[str | Path], *, options: EvaluateOptions, progress: Progress | None = None) -> Comparisons:
    """Score models on the same images and compare each with the first.

    Parameters
    ----------
    models
        Two .onnx or .keras files or run folders, or more.
    options
        On what, and what to write. Pictures show the images on which the second model differs most from the first;
        a confusion matrix is not drawn.
    progress
        Called with (images done, images in all).

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, the models' classes differ, they were trained on different parts of the
        data, or an output is already there, is one of the inputs, or is named twice.
    """
    if len(models) < 2 or options.confusion is not None:
        raise DataError(
            "A comparison takes two models or more and draws no confusion matrix; evaluate them one by one."
        )
    check_outputs(options)
    predictors = [open_for(model, options) for model in models]
    _refuse_different_classes(predictors)
    refuse_inputs(predictors, options)
    selection = select(predictors, data=options.data, part=options.split)
    for predictor in predictors:
        refuse_other_classes(predictor.contract, selection.data)
    tallies = tally_of(predictors, selection, options, progress)
    evaluations = [
        evaluation_of(predictor, selection, counted, options)
        for predictor, counted in zip(predictors, tallies, strict=True)
    ]
    comparisons = [
        Comparison(evaluations[0], evaluation, counted.same)
        for evaluation, counted in zip(evaluations[1:], tallies[1:], strict=True)
    ]
    result = Comparisons(evaluations, comparisons)
    return replace(result, written=[*write_per_image(evaluations, options), *_draw(predictors, result, options)])


def _refuse_different_classes(predictors: Sequence[Predictor]) -> None:
    first = predictors[0]
    for other in predictors[1:]:
        if other.contract.class_names != first.contract.class_names:
            raise DataError(
                f"{first.path} has the classes {', '.join(first.contract.class_names)} and {other.path} has "
                f"{', '.join(other.contract.class_names)}; compare models that were trained on the same classes."
            )


def _draw(predictors: Sequence[Predictor], result: Comparisons, options: EvaluateOptions) -> list[Path]:
    """Draw the images on which the second model differs most from the first; nothing where there is none."""
    if options.pictures is None:
        return []
    from segtool.report.differences import plot_differences

    selection, comparison = result.evaluations[0].selection, result.comparisons[0]
    places = comparison.differing[: options.samples]
    if not places:
        logger.warning("No picture was written: the models label every pixel alike.")
        return []
    data, indices = selection.data, selection.indices[places]
    size = predictors[0].contract.height, predictors[0].contract.width
    images, truths = data.arrays(indices, size=size)
    plot_differences(
        images,
        truths,
        [_labels(predictor, selection, places, size) for predictor in predictors[:2]],
        options.pictures,
        names=_names(predictors[:2]),
        titles=[_row_title(comparison.image(at)) for at in places],
        classes=data.classes,
    )
    return [options.pictures]


def _names(predictors: Sequence[Predictor]) -> list[str]:
    """Return the names of the models' files, with their folders where they would be the same."""
    names = [short_name(predictor.path) for predictor in predictors]
    if len(set(names)) == len(names):
        return names
    return [str(Path(predictor.path.parent.name, predictor.path.name)) for predictor in predictors]


def _labels(predictor: Predictor, selection: Selection, places: Sequence[int], size: Size) -> Labels:
    """Return what a model labels some images, (n, H, W), at another model's size."""
    _, _, found = shown(predictor, selection.data, selection.indices[places])
    return np.stack([resize_labels(labels, *size) for labels in found])


def _row_title(image: Mapping[str, Any]) -> str:
    """Return what is written above the pictures of one image."""
    figure = image["ranked_by"].replace("_", " ").replace("iou", "IoU")
    return (
        f"{image['image']}: {percent(image['label_agreement'])} % of the labels alike; {figure} of this image "
        f"{percent(image['first'])} % and {percent(image['second'])} %"
    )
