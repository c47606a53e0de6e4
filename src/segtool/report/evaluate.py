"""Scoring a model file on a data set: what `segtool evaluate` does."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract, default_palette
from segtool.data.dataset import Dataset, split
from segtool.data.evaluation import evaluate_labels, per_image_scores
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import RUN_NAME, read_run
from segtool.report.canvas import require_matplotlib
from segtool.runtime.image_io import resize_labels
from segtool.runtime.metrics import Scores

logger = logging.getLogger(__name__)
Indices = npt.NDArray[np.intp]
DEFAULT_VAL_SPLIT = 0.2  # the share that --split val takes of data that comes without parts


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score on and what to write beside the figures.

    Attributes
    ----------
    data
        A data set's spec; None for the data of the run that the model lies in.
    split
        "train", "val", "test" or "all"; None for "val" of the data that the model was trained on and of data that
        comes in parts, else "all".
    per_image
        CSV file for the scores of each image.
    confusion
        PNG file for the confusion matrix.
    pictures, samples
        PNG file for image, truth and prediction side by side, of this many images.
    provider, threads, provider_options
        As in `segtool.load`; they concern .onnx files only.
    overwrite
        Whether files that are there may be replaced.
    """

    data: str | None = None
    split: str | None = None
    per_image: Path | None = None
    confusion: Path | None = None
    pictures: Path | None = None
    samples: int = 6
    provider: str = "auto"
    threads: int | None = None
    overwrite: bool = False
    provider_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model, with what they were measured on."""

    model: Path
    data: str
    split: str
    fingerprint: str
    scores: Scores
    written: Sequence[Path] = field(default_factory=tuple)
    provider: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures under the keys of ``evaluate --json``."""
        return {
            "model": str(self.model),
            "data": self.data,
            "split": self.split,
            "data_fingerprint": self.fingerprint,
            **self.provider,
            **self.scores.to_dict(),
        }


def evaluate(
    model: str | Path | None,
    *,
    options: EvaluateOptions,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
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
        The model or the data cannot be used, their classes differ, or an output is already there.
    """
    for path in (options.per_image, options.confusion, options.pictures):
        if path is not None:
            refuse_existing(path, overwrite=options.overwrite)
    if options.pictures is not None or options.confusion is not None:
        require_matplotlib()
    predictor = open_predictor(
        model, provider=options.provider, threads=options.threads, provider_options=options.provider_options
    )
    data, part, indices = _images(predictor, options)
    _refuse_other_classes(predictor.contract, data)
    scores = evaluate_labels(
        predictor.predict_batch, data, indices, size=_size(predictor), whole=_whole(predictor), progress=progress
    )
    written = [
        *_write_per_image(predictor, data, indices, options),
        *_draw_confusion(scores, options),
        *_draw(predictor, data, indices, options),
    ]
    return Evaluation(
        predictor.path, data.spec, part, data.fingerprint(), scores, written, provider=predictor.provider_report
    )


def _size(predictor: Predictor) -> tuple[int, int]:
    return predictor.contract.height, predictor.contract.width


def _whole(predictor: Predictor) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]] | None:
    """Return what labels a whole image, for a model that tiles; None where images are resized in batches."""
    return predictor.label_image if predictor.contract.size_policy == "tile" else None


def _images(predictor: Predictor, options: EvaluateOptions) -> tuple[Dataset, str, Indices]:
    """Return the data set, the name of the part to score on, and its images.

    On the data that the model was trained on the parts are those of the training; otherwise an evaluation on
    "val" would score images that were trained on.
    """
    run = read_run(predictor.path.parent) if (predictor.path.parent / RUN_NAME).is_file() else None
    spec = options.data or (run.data["spec"] if run else None)
    if spec is None:
        raise DataError(
            f"{predictor.path} does not lie in a run folder, so there is no data to score it on; pass --data SPEC."
        )
    division = predictor.contract.split
    data = load_dataset(spec, **division)
    own = bool(division) and data.fingerprint() == predictor.contract.data_fingerprint
    part = options.split or ("val" if own or data.splits else "all")
    if part == "all":
        return data, part, np.arange(len(data))
    parts = split(
        data,
        val_fraction=division["val_split"] if own else DEFAULT_VAL_SPLIT,
        test_fraction=division["test_split"] if own else 0.0,
        seed=division["seed"] if own else 0,
    )
    return data, part, parts.named(part)


def _refuse_other_classes(contract: ModelContract, data: Dataset) -> None:
    if contract.num_classes != data.num_classes or contract.channels != data.channels:
        raise DataError(
            f"The model has {contract.num_classes} classes and {contract.channels} channels, {data.spec} has "
            f"{data.num_classes} and {data.channels}; evaluate on data of the kind that the model was trained on."
        )
    if (contract.class_names, contract.background_id) != (data.class_names, data.background_id):
        logger.warning(
            "The model's classes are %s (background %s), those of %s are %s (background %s): they are compared by "
            "their ids, under the data's names.",
            ", ".join(contract.class_names),
            contract.background_id,
            data.spec,
            ", ".join(data.class_names),
            data.background_id,
        )


def _write_per_image(predictor: Predictor, data: Dataset, indices: Indices, options: EvaluateOptions) -> list[Path]:
    if options.per_image is None:
        return []
    text = io.StringIO()
    names = ("pixel_accuracy", "mean_iou", "mean_dice", "foreground_mean_iou", "foreground_mean_dice")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *(f"image_{name}" for name in names)])
    for name, scores in per_image_scores(
        predictor.predict_batch, data, indices, size=_size(predictor), whole=_whole(predictor)
    ):
        values = (getattr(scores, key) for key in names)
        writer.writerow([name, *("" if math.isnan(value) else f"{value:.6f}" for value in values)])
    write_bytes(options.per_image, text.getvalue().encode())
    return [options.per_image]


def _draw_confusion(scores: Scores, options: EvaluateOptions) -> list[Path]:
    if options.confusion is None:
        return []
    from segtool.report.confusion import plot_confusion

    plot_confusion(scores.matrix, scores.class_names, options.confusion)
    return [options.confusion]


def _draw(predictor: Predictor, data: Dataset, indices: Indices, options: EvaluateOptions) -> list[Path]:
    if options.pictures is None:
        return []
    from segtool.report.panels import plot_predictions

    chosen, size = indices[: options.samples], _size(predictor)
    if (whole := _whole(predictor)) is None:
        images, truths = data.arrays(chosen, size=size)
        predictions = predictor.predict_batch(images)
    else:
        size = data.image(int(chosen[0])).shape[:2]
        images, truths = data.arrays(chosen, size=size)
        predictions = np.stack([resize_labels(whole(data.image(int(index))), *size) for index in chosen])
    plot_predictions(
        images,
        truths,
        predictions,
        options.pictures,
        class_names=data.class_names,
        palette=default_palette(data.num_classes, background_id=data.background_id),
        background_id=data.background_id,
        ignore_id=data.ignore_id,
        title=f"{predictor.path.name} on {data.name}",
    )
    return [options.pictures]
