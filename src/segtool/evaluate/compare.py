"""Comparing models on the same images: the implementation of `segtool evaluate A B`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segtool.errors import DataError
from segtool.evaluate.comparison import Comparison, Comparisons
from segtool.evaluate.evaluate import (
    EvaluateOptions,
    Progress,
    evaluation_of,
    open_for,
    refuse_outputs,
    tally_of,
    write_per_image,
)
from segtool.evaluate.selection import refuse_other_classes, select
from segtool.models.predictor import Predictor


def compare(models: Sequence[str | Path], *, options: EvaluateOptions, progress: Progress | None = None) -> Comparisons:
    """Score models on the same images and compare each with the first.

    Parameters
    ----------
    models
        At least two .onnx or .keras files or run folders.
    options
        The data and the outputs.
    progress
        Called with (images done, total images).

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, or the models have different classes or training parts. An output exists
        already, or is one of the inputs.
    """
    if len(models) < 2:
        raise DataError(f"A comparison takes at least two models, found {len(models)}; score one with evaluate().")
    refuse_outputs(models, options)
    predictors = [open_for(model, options) for model in models]
    _refuse_different_classes(predictors)
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
    return replace(result, written=write_per_image(evaluations, options))


def _refuse_different_classes(predictors: Sequence[Predictor]) -> None:
    first = predictors[0]
    for other in predictors[1:]:
        if other.contract.class_names != first.contract.class_names:
            raise DataError(
                f"{first.path} has the classes {', '.join(first.contract.class_names)} and {other.path} has "
                f"{', '.join(other.contract.class_names)}; compare models that were trained on the same classes."
            )
