"""Scoring a model file on a data set: what `segtool evaluate` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from segtool.data.loading import paths_of
from segtool.errors import DataError
from segtool.evaluate.evaluation import Evaluation, per_image_table
from segtool.evaluate.scoring import Answer, Scored, Seen, Tally, tally
from segtool.evaluate.selection import Selection, refuse_other_classes, select, spec_of_runs
from segtool.files import named_twice, refuse_existing, refuse_input_as_output, write_bytes
from segtool.metrics import Bootstrap, default_width
from segtool.models.predictor import Images, Predictor, open_predictor
from segtool.models.resolve import run_files

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score on and what to write beside the figures.

    Attributes
    ----------
    data
        A data set's spec; None for the data of the run that the model lies in.
    split
        "train", "val", "test" or "all"; None for "val" of the data that the model was trained on and of files that
        come in parts, else "all".
    per_image
        CSV file for the scores of each image.
    confusion
        PNG file for the confusion matrix, which `segtool.report.evaluation` draws.
    pictures, samples
        PNG file for image, truth and prediction side by side, of this many images; drawn there too.
    boundary_width
        Width in pixels of the boundary that boundary IoU is about; None for 2 % of each image's diagonal.
    bootstrap
        How intervals are made.
    provider, threads, provider_options
        As in `segtool.load`; they concern .onnx files only.
    overwrite
        Whether files that are there may be replaced; never those that are read.
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
        On what, and what to write.
    progress
        Called with (images done, images in all).

    Raises
    ------
    SegtoolError
        The model or the data cannot be used, their classes differ, or an output is already there, is one of the
        inputs, or is named twice.
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
    """Refuse outputs that are wrong or there already before any work is done."""
    if wrong := wrong_outputs(options):
        raise DataError(wrong)
    for path in _outputs(options):
        refuse_existing(path, overwrite=options.overwrite)


def wrong_outputs(options: EvaluateOptions) -> str | None:
    """Return the sentence on what is wrong with the names of the outputs; None where nothing is."""
    if twice := named_twice(_outputs(options)):
        return f"{twice} is named for two outputs, expected a file of its own for each; choose another name."
    for what, path in (("confusion matrix", options.confusion), ("pictures", options.pictures)):
        if path is not None and path.suffix.lower() != ".png":
            return f"{path} is no name of a PNG file, which the {what} would be; give one that ends in .png."
    return None


def refuse_inputs(predictors: Sequence[Predictor], options: EvaluateOptions) -> None:
    """Refuse outputs that are a model, a file of its run, or of the data, whether they may be replaced or not."""
    outputs = _outputs(options)
    if outputs:
        spec = options.data or spec_of_runs(predictors)
        read = [path for predictor in predictors for path in (predictor.path, *run_files(predictor.path.parent))]
        refuse_input_as_output(outputs, [*read, *paths_of(spec)])


def _outputs(options: EvaluateOptions) -> list[Path]:
    return [path for path in (options.per_image, options.confusion, options.pictures) if path is not None]


def open_for(model: str | Path | None, options: EvaluateOptions) -> Predictor:
    """Open a model with the options' provider."""
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
    """Count what models get right on the same images; `seen` is called as in `segtool.evaluate.scoring.tally`."""
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
    """Return what was counted of a model as its evaluation."""
    return Evaluation(
        predictor,
        selection,
        counted,
        options.bootstrap,
        _boundary_widths(selection, options),
        no_probabilities=_why_no_probabilities(predictor),
    )


def write_per_image(evaluations: Sequence[Evaluation], options: EvaluateOptions) -> list[Path]:
    """Write the CSV of `per_image_table` where it was asked for; return what was written."""
    if options.per_image is None:
        return []
    write_bytes(options.per_image, per_image_table(evaluations).encode())
    return [options.per_image]


def _answer(predictor: Predictor) -> Callable[[Images], Answer]:
    if predictor.answer_batch is not None:
        return predictor.answer_batch
    return lambda images: (predictor.predict_batch(images), None)


def _why_no_probabilities(predictor: Predictor) -> str:
    if predictor.answer_batch is not None:
        return ""
    if predictor.kind == "keras":
        return f"The output of {predictor.path} does not add up to 1 over the classes, so it is no probability."
    return (
        f"{predictor.path} has the labels head, which gives class ids only; export it with --head probabilities (or "
        "logits), or evaluate the .keras file that it was made from."
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
