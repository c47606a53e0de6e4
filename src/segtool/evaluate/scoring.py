"""Scoring predictors on a data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, IndexArray, IntegerArray, UInt8Array
from segtool.data.base import Dataset, Size
from segtool.errors import DataError
from segtool.images.image_io import nearest_indices
from segtool.metrics import (
    Calibration,
    ImageCounts,
    Scores,
    confusion_matrix,
    count_images,
    default_width,
)
from segtool.models.predictor import Answer

PIXELS_AT_ONCE = 2**19  # per batch: a network needs some hundred times the memory of the input
_PARTS = 16  # batches that are counted before they are joined, since each holds a confusion matrix
Predict = Callable[[UInt8Array], IntegerArray]
Progress = Callable[[int, int], None]
Seen = Callable[[int, Sequence[IntegerArray]], None]
Number = TypeVar("Number", bound=np.number[Any])


@dataclass(frozen=True)
class Scored:
    """A model to score.

    Attributes
    ----------
    answer
        Takes images uint8 (n, h, w, C). Returns class ids (n, h, w) and their probabilities float32 (n, h, w), or None
        if the model gives none.
    size
        (h, w) that the images are resized to.
    whole
        For a model that tiles images, used instead of `answer`. Takes one image uint8 (H, W, C) of any size; returns
        its class ids (H, W) and their probabilities (H, W), or None. None for a model that resizes images.
    """

    answer: Callable[[UInt8Array], Answer]
    size: Size
    whole: Callable[[UInt8Array], Answer] | None = None


@dataclass(frozen=True, eq=False)
class Tally:
    """The counts of one model.

    Attributes
    ----------
    counts
        Counts of each image, in the order of the indices.
    calibration
        Calibration over all images; None if the model gives no probabilities.
    same
        int64 (N,): counted pixels of each image whose label equals that of the first model.
    """

    counts: ImageCounts
    calibration: Calibration | None
    same: npt.NDArray[np.int64]


def images_at_once(size: Size, *, most: int = 32) -> int:
    """Return the batch size for images of `size` (height, width); smaller for large images."""
    return max(1, min(most, PIXELS_AT_ONCE // (size[0] * size[1])))


def evaluate_labels(
    predict: Predict,
    dataset: Dataset,
    indices: IndexArray,
    *,
    size: Size,
    batch: int | None = None,
    whole: Predict | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score `predict` on samples of a data set with one confusion matrix over all of them.

    Parameters
    ----------
    predict
        Takes images uint8 (n, h, w, C) and returns class ids (n, h, w).
    dataset, indices
        The samples.
    size
        (h, w) of the model. Images of another size are resized to it. The labels are resized back to the size of the
        truth by nearest neighbour, so that every score counts the pixels of the truth.
    batch
        Images per call; None for the number of `images_at_once`.
    whole
        For a model that tiles images, used instead of `predict`: takes one image uint8 (H, W, C) of any size and
        returns its class ids (H, W). None to resize.
    progress
        Called with (done, total) as images are done.

    Raises
    ------
    DataError
        No samples, a sample that cannot be read, or predictions out of range.
    """
    total = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    by_tiles = None if whole is None else lambda image: (whole(image), None)
    model = Scored(lambda images: (predict(images), None), size, by_tiles)
    done = 0
    for truths, [(labels, _)] in _answers([model], dataset, indices, batch):
        total += confusion_matrix(truths, labels, dataset.num_classes, ignore_id=dataset.ignore_id)
        done += len(truths)
        if progress is not None:
            progress(done, len(indices))
    return Scores.from_matrix(
        total, class_names=dataset.class_names, background_id=dataset.background_id, images=len(indices)
    )


def tally(
    models: Sequence[Scored],
    dataset: Dataset,
    indices: IndexArray,
    *,
    boundary_width: int | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> tuple[Tally, ...]:
    """Count the correct pixels of each model on the same samples, per image.

    Parameters
    ----------
    models
        One or more models; each sees the same images, at its own input size.
    dataset, indices
        The samples; each truth is compared at its own size, as in `evaluate_labels`.
    boundary_width
        Width in pixels of the boundary for boundary IoU; None for the `default_width` of each image.
    progress
        Called with (done, total) as images are done.
    seen
        Called for each group of images, with the position of its first image in `indices` and the class ids (n, H, W)
        of each model.

    Raises
    ------
    DataError
        No samples, a sample that cannot be read, or predictions out of range.
    """
    parts: list[list[Tally]] = [[] for _ in models]
    done = 0
    for truths, answers in _answers(models, dataset, indices, None):
        width = boundary_width or default_width(*truths.shape[1:])
        for part, (labels, confidence) in zip(parts, answers, strict=True):
            part.append(_count(truths, labels, confidence, dataset, width, first=answers[0][0]))
            if len(part) == _PARTS:
                part[:] = [_joined(part)]
        if seen is not None:
            seen(done, [labels for labels, _ in answers])
        done += len(truths)
        if progress is not None:
            progress(done, len(indices))
    return tuple(_joined(part) for part in parts)


def _answers(
    models: Sequence[Scored], dataset: Dataset, indices: IndexArray, batch: int | None
) -> Iterator[tuple[IntegerArray, list[Answer]]]:
    """Yield truths (n, H, W) and the predictions of each model at that size; n is 1 for large or different sizes."""
    if not len(indices):
        raise DataError(f"{dataset.name} has no images to evaluate on, expected at least one; choose another split.")
    batch = batch or min(images_at_once(model.size) for model in models)
    for start in range(0, len(indices), batch):
        part = [int(index) for index in indices[start : start + batch]]
        images = _images(models, dataset, part)
        answers = [None if model.whole else model.answer(images[model.size]) for model in models]
        for group in _groups(dataset, len(part)):
            truths = dataset.labels(part[group])
            yield (
                truths,
                [
                    _of_whole(model, dataset, part[group])
                    if answer is None
                    else _at_size(answer, group, truths.shape[1:])
                    for model, answer in zip(models, answers, strict=True)
                ],
            )


def _images(models: Sequence[Scored], dataset: Dataset, part: Sequence[int]) -> dict[Size, UInt8Array]:
    """Return the images at each input size of the models that resize."""
    return {size: dataset.images(part, size=size) for size in {model.size for model in models if not model.whole}}


def _of_whole(model: Scored, dataset: Dataset, group: Sequence[int]) -> Answer:
    """Return the predictions of a model that tiles, image by image, for images of one size."""
    if model.whole is None:
        raise TypeError("The model resizes images and has no `whole`.")
    answers = [model.whole(dataset.image(index)) for index in group]
    confidence = [share for _, share in answers if share is not None]
    return np.stack([labels for labels, _ in answers]), np.stack(confidence) if confidence else None


def _groups(dataset: Dataset, count: int) -> Iterator[slice]:
    """Yield the images of a batch that are compared together: all if they are small and of one size, else one each."""
    size = dataset.image_size
    if size is not None and count * size[0] * size[1] <= PIXELS_AT_ONCE:
        yield slice(0, count)
    else:
        yield from (slice(at, at + 1) for at in range(count))


def _at_size(answer: Answer, group: slice, size: tuple[int, ...]) -> Answer:
    labels, confidence = answer
    return _nearest(labels[group], size), None if confidence is None else _nearest(confidence[group], size)


def _nearest(values: npt.NDArray[Number], size: tuple[int, ...]) -> npt.NDArray[Number]:
    """Return maps (n, h, w) at another size (H, W) by the nearest pixel centre."""
    if values.shape[1:] == size:
        return values
    rows, columns = (nearest_indices(*sides) for sides in zip(values.shape[1:], size, strict=True))
    resized: npt.NDArray[Number] = values[:, rows[:, np.newaxis], columns]
    return resized


def _count(
    truths: IntegerArray,
    labels: IntegerArray,
    confidence: FloatArray | None,
    dataset: Dataset,
    width: int,
    *,
    first: IntegerArray,
) -> Tally:
    counts = count_images(truths, labels, dataset.num_classes, boundary_width=width, ignore_id=dataset.ignore_id)
    calibration = None
    if confidence is not None:
        calibration = Calibration.of(truths, labels, confidence, ignore_id=dataset.ignore_id)
    same = labels == first
    if dataset.ignore_id is not None:
        same &= truths != dataset.ignore_id
    return Tally(counts, calibration, same.sum(axis=(1, 2), dtype=np.int64))


def _joined(parts: Sequence[Tally]) -> Tally:
    calibrations = [part.calibration for part in parts if part.calibration is not None]
    return Tally(
        ImageCounts.joined([part.counts for part in parts]),
        sum(calibrations[1:], start=calibrations[0]) if calibrations else None,
        np.concatenate([part.same for part in parts]),
    )
