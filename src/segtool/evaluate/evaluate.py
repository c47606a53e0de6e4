"""Scoring a model file on a data set: the implementation of `segtool evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segtool.array_types import UInt8Array
from segtool.data.loading import paths_of
from segtool.evaluate.evaluation import Evaluation, per_image_table
from segtool.evaluate.scoring import Answer, Scored, Seen, Tally, tally
from segtool.evaluate.selection import Selection, refuse_other_classes, select, spec_of_runs
from segtool.files import refuse_existing, refuse_input_as_output, write_bytes
from segtool.metrics import Bootstrap, default_width
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import find_model, run_files

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
    refuse_outputs([model], options)
    predictor = open_for(model, options)
    selection = select([predictor], data=options.data, part=options.split)
    refuse_other_classes(predictor.contract, selection.data)
    [counted] = tally_of([predictor], selection, options, progress)
    evaluation = evaluation_of(predictor, selection, counted, options)
    return replace(evaluation, written=write_per_image([evaluation], options))


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


def open_for(model: str | Path | None, options: EvaluateOptions) -> Predictor:
    """Open a model with the provider and threads of the options."""
    return open_predictor(
        model, provider=options.provider, threads=options.threads, provider_options=options.provider_options
    )


def tally_of(
    predictors: Sequence[Predictor],
    selection: Selection,
    options: EvaluateOptions,
    progress: Progress | None,
    *,
    seen: Seen | None = None,
) -> tuple[Tally, ...]:
    """Count the correct pixels of models on the same images; `seen` as in `segtool.evaluate.scoring.tally`."""
    models = [
        Scored(_answer(each), (each.contract.height, each.contract.width), each.answer_image) for each in predictors
    ]
    return tally(
        models,
        selection.data,
        selection.indices,
        boundary_width=options.boundary_width,
        progress=progress,
        seen=seen,
    )


def evaluation_of(predictor: Predictor, selection: Selection, counted: Tally, options: EvaluateOptions) -> Evaluation:
    """Return the evaluation of a model from its counts."""
    return Evaluation(
        predictor,
        selection,
        counted,
        options.bootstrap,
        _boundary_widths(selection, options),
        no_probabilities=_why_no_probabilities(predictor),
    )


def write_per_image(evaluations: Sequence[Evaluation], options: EvaluateOptions) -> list[Path]:
    """Write the CSV of `per_image_table` if requested; return the written files."""
    if options.per_image is None:
        return []
    write_bytes(options.per_image, per_image_table(evaluations).encode())
    return [options.per_image]


def _answer(predictor: Predictor) -> Callable[[UInt8Array], Answer]:
    if predictor.answer_batch is not None:
        return predictor.answer_batch
    return lambda images: (predictor.predict_batch(images), None)


def _why_no_probabilities(predictor: Predictor) -> str:
    if predictor.answer_batch is not None:
        return ""
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
