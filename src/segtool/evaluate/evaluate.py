"""Scoring a model file on a data set: the implementation of `segtool evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segtool.array_types import UInt8Array
from segtool.data.loading import paths_of
from segtool.errors import DataError
from segtool.evaluate.evaluation import Evaluation, per_image_table
from segtool.evaluate.scoring import Answer, Scored, Seen, Tally, tally
from segtool.evaluate.selection import Selection, refuse_other_classes, select, spec_of_runs
from segtool.files import named_twice, refuse_existing, refuse_input_as_output, write_bytes
from segtool.metrics import Bootstrap, default_width
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import run_files

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluateOptions:
    """The data of an evaluation, and what to write in addition to the figures.

    Attributes
    ----------
    data
        The spec of a data set; None for the data of the model's run.
    split
        "train", "val", "test" or "all". None means "val" for the training data of the model and for data with given
        parts, else "all".
    per_image
        CSV file for the scores of each image.
    confusion
        PNG file for the confusion matrix, drawn by `segtool.report.evaluation`.
    pictures, samples
        PNG file for image, truth and prediction side by side, and the number of images; drawn by the same module.
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
    confusion: Path | None = None
    pictures: Path | None = None
    samples: int = 6
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
        The model or the data cannot be used, or their classes differ. An output exists already, is one of the inputs,
        or is named twice.
    """
    check_outputs(options)
    predictor = open_for(model, options)
    refuse_inputs([predictor], options)
    selection = select([predictor], data=options.data, part=options.split)
    refuse_other_classes(predictor.contract, selection.data)
    [counted] = tally_of([predictor], selection, options, progress)
    evaluation = evaluation_of(predictor, selection, counted, options)
    return replace(evaluation, written=write_per_image([evaluation], options))


def check_outputs(options: EvaluateOptions) -> None:
    """Refuse wrong or existing outputs before any work is done."""
    if wrong := wrong_outputs(options):
        raise DataError(wrong)
    for path in _outputs(options):
        refuse_existing(path, overwrite=options.overwrite)


def wrong_outputs(options: EvaluateOptions) -> str | None:
    """Return the message for wrong output names; None if they are valid."""
    if twice := named_twice(_outputs(options)):
        return f"{twice} is named for two outputs, expected a different file for each; choose another name."
    for what, path in (("confusion matrix", options.confusion), ("pictures", options.pictures)):
        if path is not None and path.suffix.lower() != ".png":
            return f"The output {path} for the {what} does not end in .png, expected a PNG file; change its name."
    return None


def refuse_inputs(predictors: Sequence[Predictor], options: EvaluateOptions) -> None:
    """Refuse outputs that are a model, a file of its run or of the data, even with `overwrite`."""
    outputs = _outputs(options)
    if outputs:
        spec = options.data or spec_of_runs(predictors)
        read = [path for predictor in predictors for path in (predictor.path, *run_files(predictor.path.parent))]
        refuse_input_as_output(outputs, [*read, *paths_of(spec)])


def _outputs(options: EvaluateOptions) -> list[Path]:
    return [path for path in (options.per_image, options.confusion, options.pictures) if path is not None]


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
