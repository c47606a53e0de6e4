"""Scoring a model file on a data set: what `segtool evaluate` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from segtool.contract import default_palette
from segtool.data.arrays import Labels
from segtool.data.dataset import Dataset, Indices
from segtool.data.loading import paths_of
from segtool.errors import DataError
from segtool.evaluate.evaluation import Evaluation, per_image_table
from segtool.evaluate.scoring import Answer, Scored, Tally, tally
from segtool.evaluate.selection import Selection, refuse_other_classes, select, spec_of_runs
from segtool.files import named_twice, refuse_existing, refuse_input_as_output, write_bytes
from segtool.images.image_io import resize_labels
from segtool.metrics import Bootstrap, default_width
from segtool.models.predictor import Images, Predictor, open_predictor
from segtool.models.resolve import RUN_NAME, run_files
from segtool.report.canvas import require_matplotlib

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
        PNG file for the confusion matrix.
    pictures, samples
        PNG file for image, truth and prediction side by side, of this many images.
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
    written = [
        *write_per_image([evaluation], options),
        *_draw_confusion(evaluation, options),
        *_draw(predictor, selection, options),
    ]
    return replace(evaluation, written=written)


def check_outputs(options: EvaluateOptions) -> None:
    """Refuse outputs that are wrong or there already, and pictures that cannot be drawn, before any work is done."""
    if wrong := wrong_outputs(options):
        raise DataError(wrong)
    for path in _outputs(options):
        refuse_existing(path, overwrite=options.overwrite)
    if options.pictures is not None or options.confusion is not None:
        require_matplotlib()


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
    predictors: Sequence[Predictor], selection: Selection, options: EvaluateOptions, progress: Progress | None
) -> tuple[Tally, ...]:
    """Count what models get right on the same images."""
    models = [
        Scored(_answer(each), (each.contract.height, each.contract.width), each.answer_image) for each in predictors
    ]
    return tally(models, selection.data, selection.indices, boundary_width=options.boundary_width, progress=progress)


def evaluation_of(predictor: Predictor, selection: Selection, counted: Tally, options: EvaluateOptions) -> Evaluation:
    """Return what was counted of a model as its evaluation."""
    return Evaluation(
        predictor.path,
        selection,
        counted,
        options.bootstrap,
        _boundary_widths(selection, options),
        no_probabilities=_why_no_probabilities(predictor),
        provider=predictor.provider_report,
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


def shown(predictor: Predictor, data: Dataset, chosen: Indices) -> tuple[Images, Labels, Labels]:
    """Return images, truths and predictions (n, h, w) for a picture, at the model's or the first one's size."""
    if predictor.answer_image is None:
        images, truths = data.arrays(chosen, size=(predictor.contract.height, predictor.contract.width))
        return images, truths, predictor.predict_batch(images)
    height, width = data.label(int(chosen[0])).shape
    images, truths = data.arrays(chosen, size=(height, width))
    answers = [predictor.answer_image(data.image(int(index)))[0] for index in chosen]
    return images, truths, np.stack([resize_labels(labels, height, width) for labels in answers])


def _draw_confusion(evaluation: Evaluation, options: EvaluateOptions) -> list[Path]:
    if options.confusion is None:
        return []
    from segtool.report.confusion import plot_confusion

    scores, selection = evaluation.scores, evaluation.selection
    subject = (
        f"{short_name(evaluation.model)} on {selection.data.name} ({selection.part}, {len(selection.indices)} images)"
    )
    plot_confusion(scores.matrix, scores.class_names, options.confusion, subject=subject)
    return [options.confusion]


def short_name(model: Path) -> str:
    """Return what a model is called in pictures: its file, with the folder where that is a run's."""
    in_run = (model.parent / RUN_NAME).is_file()
    return str(Path(model.resolve().parent.name, model.name)) if in_run else model.name


def _draw(predictor: Predictor, selection: Selection, options: EvaluateOptions) -> list[Path]:
    if options.pictures is None:
        return []
    from segtool.report.panels import plot_predictions

    data = selection.data
    chosen = selection.indices[: options.samples]
    images, truths, predictions = shown(predictor, data, chosen)
    plot_predictions(
        images,
        truths,
        predictions,
        options.pictures,
        class_names=data.class_names,
        palette=default_palette(data.num_classes, background_id=data.background_id),
        background_id=data.background_id,
        ignore_id=data.ignore_id,
        title=f"{short_name(predictor.path)} on {data.name}",
        names=[data.sample_names[index] for index in chosen],
    )
    return [options.pictures]
