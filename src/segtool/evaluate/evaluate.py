"""Scoring models on a data set, and comparing several: the implementation of `segtool evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segtool.array_types import IntegerArray
from segtool.data.base import Dataset
from segtool.data.loading import paths_of
from segtool.errors import DataError
from segtool.evaluate.comparison import Comparison, Comparisons
from segtool.evaluate.evaluation import Evaluation, per_image_table
from segtool.evaluate.scoring import Scored, Seen, Tally, tally
from segtool.evaluate.selection import Selection, refuse_other_classes, select, spec_of_runs
from segtool.files import refuse_existing, refuse_input_as_output, write_bytes
from segtool.metrics import Bootstrap, default_width
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import find_model, run_files
from segtool.text import listed

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluateOptions:
    """The data of an evaluation, and how to score it; `segtool.report.evaluation` draws pictures of the result.

    Attributes
    ----------
    data
        The spec of a data set; None for the data of the model's run.
    split
        "train", "val", "test" or "all". None means "val" for the training data of the model and for data with given
        parts, else "all".
    per_image
        CSV file for the scores of each image.
    boundary_width
        Width in pixels of the boundary for boundary IoU; None for 2 % of the diagonal of each image.
    bootstrap
        How intervals are computed.
    provider, threads, provider_options
        As in `segtool.load`, for .onnx files only.
    overwrite
        Whether existing files may be replaced; input files are never replaced.
    """

    data: str | None = None
    split: str | None = None
    per_image: Path | None = None
    boundary_width: int | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    provider: str = "auto"
    threads: int | None = None
    overwrite: bool = False
    provider_options: Mapping[str, str] = field(default_factory=dict)


def evaluate(model: str | Path | None, *, options: EvaluateOptions, progress: Progress | None = None) -> Evaluation:
    """Score a model on images with known truth.

    Parameters
    ----------
    model
        An .onnx or .keras file or a run folder; None for the latest run.
    options
        The data and the outputs.
    progress
        Called with (images done, total images).

    Raises
    ------
    SegtoolError
        The model or the data cannot be used, or their classes differ. An output exists already, or is one of the
        inputs.
    """
    [evaluation], written = _score([model], options, progress)
    return replace(evaluation, written=written)


def compare(models: Sequence[str | Path], *, options: EvaluateOptions, progress: Progress | None = None) -> Comparisons:
    """Score models on the same images and compare each with the first.

    Parameters
    ----------
    models
        At least two .onnx or .keras files or run folders.
    options, progress
        As in `evaluate`.

    Raises
    ------
    SegtoolError
        As in `evaluate`, or the models have different classes or training parts.
    """
    if len(models) < 2:
        raise DataError(f"A comparison takes at least two models, found {len(models)}; score one with evaluate().")
    evaluations, written = _score(models, options, progress)
    return Comparisons(evaluations, [Comparison(evaluations[0], each) for each in evaluations[1:]], written)


def _score(
    models: Sequence[str | Path | None], options: EvaluateOptions, progress: Progress | None
) -> tuple[list[Evaluation], list[Path]]:
    """Score models on the same images; return their evaluations and the files that were also written."""
    refuse_outputs(models, options)
    predictors = [
        open_predictor(
            model, provider=options.provider, threads=options.threads, provider_options=options.provider_options
        )
        for model in models
    ]
    _refuse_different_classes(predictors)
    selection = select(predictors, data=options.data, part=options.split)
    for predictor in predictors:
        refuse_other_classes(predictor.contract, selection.data)
    tallies = tally_of(predictors, selection, options, progress)
    evaluations = [
        evaluation_of(predictor, selection, counted, options)
        for predictor, counted in zip(predictors, tallies, strict=True)
    ]
    if options.per_image is None:
        return evaluations, []
    write_bytes(options.per_image, per_image_table(evaluations).encode(errors="backslashreplace"))
    return evaluations, [options.per_image]


def refuse_outputs(models: Sequence[str | Path | None], options: EvaluateOptions, further: Sequence[Path] = ()) -> None:
    """Refuse outputs before any work is done: existing ones, and files that are read.

    A model, a file of its run or of the data is refused also with `overwrite`. `further` are outputs of the caller.
    """
    outputs = [*further, *([] if options.per_image is None else [options.per_image])]
    if not outputs:
        return
    for path in outputs:
        refuse_existing(path, overwrite=options.overwrite)
    paths = [find_model(model).path for model in models]
    read = [one for path in paths for one in (path, *run_files(path.parent))]
    refuse_input_as_output(outputs, [*read, *paths_of(options.data or spec_of_runs(paths))])


def tally_of(
    predictors: Sequence[Predictor],
    selection: Selection,
    options: EvaluateOptions,
    progress: Progress | None,
    *,
    seen: Seen | None = None,
) -> tuple[Tally, ...]:
    """Count the correct pixels of models on the same images; `seen` as in `segtool.evaluate.scoring.tally`."""
    models = [Scored(each.answer_batch, each.contract.size, each.answer_image) for each in predictors]
    found = tally(
        models,
        selection.data,
        selection.indices,
        boundary_width=options.boundary_width,
        progress=progress,
        seen=seen,
    )
    _warn_without_background(selection.data, found[0].counts.truth.sum(0))
    return found


def _warn_without_background(data: Dataset, truth: IntegerArray) -> None:
    """Warn where the masks have no background: masks without names may have other ids than the model."""
    if data.background_id is not None and not truth[data.background_id]:
        logger.warning(
            "No mask holds the background, '%s' (id %d), and %d of the %d classes occur in none; if the values of %s "
            "mean other classes than the model's, no score is right. Compare them: segtool data info %s",
            *(data.class_names[data.background_id], data.background_id, (truth == 0).sum(), len(truth)),
            *(data.spec, data.spec),
        )


def evaluation_of(predictor: Predictor, selection: Selection, counted: Tally, options: EvaluateOptions) -> Evaluation:
    """Return the evaluation of a model from its counts."""
    return Evaluation(
        predictor,
        selection,
        counted,
        options.bootstrap,
        _boundary_widths(selection, options),
        no_probabilities="" if counted.calibration is not None else _why_no_probabilities(predictor),
    )


def _refuse_different_classes(predictors: Sequence[Predictor]) -> None:
    first = predictors[0]
    for other in predictors[1:]:
        if other.contract.class_names != first.contract.class_names:
            raise DataError(
                f"{first.path} has the classes {listed(first.contract.class_names)} and {other.path} has "
                f"{listed(other.contract.class_names)}; compare models that were trained on the same classes."
            )


def _why_no_probabilities(predictor: Predictor) -> str:
    if predictor.kind == "keras":
        return f"The outputs of {predictor.path} do not sum to 1 over the classes, so they are not probabilities."
    return (
        f"{predictor.path} has the labels head, which gives class ids only; export it with --head probabilities (or "
        "logits), or evaluate the .keras file that it was exported from."
    )


def _boundary_widths(selection: Selection, options: EvaluateOptions) -> tuple[int, int]:
    if options.boundary_width is not None:
        return options.boundary_width, options.boundary_width
    data = selection.data
    if data.image_size is not None:
        width = default_width(*data.image_size)
        return width, width
    widths = [default_width(*data.label(int(index)).shape) for index in selection.indices]
    return min(widths), max(widths)
