"""Scoring predictors on a data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.data.arrays import Labels
from segtool.data.base import Dataset, Images, Indices, Size
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

PIXELS_AT_ONCE = 2**19  # of a batch: what a network holds for each is some hundred times as much memory
_PARTS = 16  # batches counted before they are joined: each holds a whole confusion matrix
Predict = Callable[[Images], Labels]
Progress = Callable[[int, int], None]
Confidence = npt.NDArray[np.float32]
Answer = tuple[Labels, Confidence | None]
Seen = Callable[[int, Sequence[Labels]], None]
Number = TypeVar("Number", bound=np.number[Any])


@dataclass(frozen=True)
class Scored:
    """A model as an evaluation sees it.

    Attributes
    ----------
    answer
        Takes images uint8 (n, h, w, C); returns class ids (n, h, w) and the probability of each, float32 (n, h, w), or
        None where the model gives none.
    size
        (h, w) that the images are resized to for it.
    whole
        For a model that tiles images, in place of `answer`: takes one image uint8 (H, W, C) of any size; returns its
        class ids (H, W) and their probabilities (H, W), or None. None where images are resized.
    """

    answer: Callable[[Images], Answer]
    size: Size
    whole: Callable[[Images], Answer] | None = None


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted of one model.

    Attributes
    ----------
    counts
        Of each image, in the order of the indices.
    calibration
        Over all images; None where the model gives no probabilities.
    same
        int64 (N,): counted pixels of each image that have the label that the first model gave.
    """

    counts: ImageCounts
    calibration: Calibration | None
    same: npt.NDArray[np.int64]


def images_at_once(size: Size, *, most: int = 32) -> int:
    """Return how many images of `size` (height, width) to run in one batch: fewer where they are large."""
    return max(1, min(most, PIXELS_AT_ONCE // (size[0] * size[1])))


def evaluate_labels(
    predict: Predict,
    dataset: Dataset,
    indices: Indices,
    *,
    size: Size,
    batch: int | None = None,
    whole: Predict | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score `predict` on some samples by one confusion matrix over all of them.

    Parameters
    ----------
    predict
        Takes images uint8 (n, h, w, C) and returns class ids (n, h, w).
    dataset, indices
        Which samples.
    size
        (h, w) of the model. Images of another size are resized for it, and its labels are brought back to the
        truth's own size by nearest neighbour, so that every score counts the truth's own pixels.
    batch
        Images per call; None for as many as `images_at_once` says.
    whole
        For a model that tiles images, in place of `predict`: takes one image uint8 (H, W, C) of any size and returns
        its class ids (H, W). None to resize.
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
    indices: Indices,
    *,
    boundary_width: int | None = None,
    progress: Progress | None = None,
    seen: Seen | None = None,
) -> tuple[Tally, ...]:
    """Count what each model gets right on the same samples, image by image.

    Parameters
    ----------
    models
        One or more; each sees the same images, at its own size.
    dataset, indices
        Which samples; each truth is compared at its own size, as in `evaluate_labels`.
    boundary_width
        Width in pixels of the boundary that boundary IoU is about; None for each image's `default_width`.
    progress
        Called with (done, total) as images are done.
    seen
        Called with the place in `indices` of the first of some images, and the class ids (n, H, W) that each model
        gave for them.

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
    models: Sequence[Scored], dataset: Dataset, indices: Indices, batch: int | None
) -> Iterator[tuple[Labels, list[Answer]]]:
    """Yield truths (n, H, W), and what each model answers at that size; n is 1 where sizes differ or are large."""
    if not len(indices):
        raise DataError(f"{dataset.name} has no images to evaluate on, expected one at least; choose another split.")
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


def _images(models: Sequence[Scored], dataset: Dataset, part: Sequence[int]) -> dict[Size, Images]:
    """Return the images at each size that a model takes them resized to."""
    return {size: dataset.images(part, size=size) for size in {model.size for model in models if not model.whole}}


def _of_whole(model: Scored, dataset: Dataset, group: Sequence[int]) -> Answer:
    """Return what a model that tiles answers on images of one size, each by itself."""
    if model.whole is None:
        raise TypeError("The model has images resized.")
    answers = [model.whole(dataset.image(index)) for index in group]
    confidence = [share for _, share in answers if share is not None]
    return np.stack([labels for labels, _ in answers]), np.stack(confidence) if confidence else None


def _groups(dataset: Dataset, count: int) -> Iterator[slice]:
    """Yield the images of a batch that are compared together: all where they are small and of one size, else each."""
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
    truths: Labels, labels: Labels, confidence: Confidence | None, dataset: Dataset, width: int, *, first: Labels
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
