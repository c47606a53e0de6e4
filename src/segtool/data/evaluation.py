"""Scoring a predictor on a data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from segtool.data.arrays import Labels
from segtool.data.base import Dataset, Images, Indices, Size
from segtool.errors import DataError
from segtool.runtime.image_io import resize_labels
from segtool.runtime.metrics import CountMatrix, Scores, confusion_matrix

PIXELS_AT_ONCE = 2**19  # of a batch: what a network holds for each is some hundred times as much memory
Predict = Callable[[Images], Labels]
Whole = Callable[[Images], Labels]
Progress = Callable[[int, int], None]


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
    whole: Whole | None = None,
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
    whole
        Takes one image uint8 (H, W, C) of any size and returns its class ids (H, W), for a model that tiles images;
        it is called in place of `predict`. None to resize.
    batch
        Images per call; None for as many as `images_at_once` says.
    progress
        Called with (done, total) after each image.

    Raises
    ------
    DataError
        No samples, a sample that cannot be read, or predictions out of range.
    """
    total = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    for done, (_, matrix) in enumerate(
        _matrices(predict, dataset, indices, size=size, batch=batch, whole=whole), start=1
    ):
        total += matrix
        if progress is not None:
            progress(done, len(indices))
    return _scores(total, dataset, images=len(indices))


def per_image_scores(
    predict: Predict,
    dataset: Dataset,
    indices: Indices,
    *,
    size: Size,
    batch: int | None = None,
    whole: Whole | None = None,
) -> Iterator[tuple[str, Scores]]:
    """Yield the name and the scores of each sample by itself, in order; otherwise as `evaluate_labels`."""
    for index, matrix in _matrices(predict, dataset, indices, size=size, batch=batch, whole=whole):
        yield dataset.sample_names[index], _scores(matrix, dataset, images=1)


def _matrices(
    predict: Predict, dataset: Dataset, indices: Indices, *, size: Size, batch: int | None, whole: Whole | None
) -> Iterator[tuple[int, CountMatrix]]:
    if not len(indices):
        raise DataError(f"{dataset.name} has no images to evaluate on, expected one at least; choose another split.")
    chosen = [int(index) for index in indices]
    if whole is None:
        answers = _resized_answers(predict, dataset, chosen, size, batch or images_at_once(size))
    else:
        answers = (whole(dataset.image(index)) for index in chosen)
    for index, answer in zip(chosen, answers, strict=True):
        truth = dataset.label(index)
        labels = answer if answer.shape == truth.shape else resize_labels(answer, *truth.shape)
        yield index, confusion_matrix(truth, labels, dataset.num_classes, ignore_id=dataset.ignore_id)


def _resized_answers(
    predict: Predict, dataset: Dataset, chosen: Sequence[int], size: Size, batch: int
) -> Iterator[Labels]:
    """Yield the class ids of each image at the model's size, a batch at a time."""
    for start in range(0, len(chosen), batch):
        yield from predict(dataset.images(chosen[start : start + batch], size=size))


def _scores(matrix: CountMatrix, dataset: Dataset, *, images: int) -> Scores:
    return Scores.from_matrix(
        matrix, class_names=dataset.class_names, background_id=dataset.background_id, images=images
    )
