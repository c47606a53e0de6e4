"""Scoring a predictor on a data set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from segtool.data.arrays import Labels
from segtool.data.base import Dataset, Images, Indices, Size
from segtool.errors import DataError
from segtool.runtime.image_io import resize_labels
from segtool.runtime.metrics import CountMatrix, Scores, confusion_matrix

Predict = Callable[[Images], Labels]
Progress = Callable[[int, int], None]


def evaluate_labels(
    predict: Predict,
    dataset: Dataset,
    indices: Indices,
    *,
    size: Size,
    batch: int = 32,
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
        Images per call.
    progress
        Called with (done, total) after each image.

    Raises
    ------
    DataError
        No samples, a sample that cannot be read, or predictions out of range.
    """
    total = np.zeros((dataset.num_classes, dataset.num_classes), np.int64)
    for done, (_, matrix) in enumerate(_matrices(predict, dataset, indices, size=size, batch=batch), start=1):
        total += matrix
        if progress is not None:
            progress(done, len(indices))
    return _scores(total, dataset, images=len(indices))


def per_image_scores(
    predict: Predict, dataset: Dataset, indices: Indices, *, size: Size, batch: int = 32
) -> Iterator[tuple[str, Scores]]:
    """Yield the name and the scores of each sample by itself, in order; otherwise as `evaluate_labels`."""
    for index, matrix in _matrices(predict, dataset, indices, size=size, batch=batch):
        yield dataset.sample_names[index], _scores(matrix, dataset, images=1)


def _matrices(
    predict: Predict, dataset: Dataset, indices: Indices, *, size: Size, batch: int
) -> Iterator[tuple[int, CountMatrix]]:
    if not len(indices):
        raise DataError(f"{dataset.name} has no images to evaluate on, expected one at least; choose another split.")
    for start in range(0, len(indices), batch):
        part = [int(index) for index in indices[start : start + batch]]
        for index, prediction in zip(part, predict(dataset.images(part, size=size)), strict=True):
            truth = dataset.label(index)
            if prediction.shape != truth.shape:
                prediction = resize_labels(prediction, *truth.shape)  # noqa: PLW2901 - the same labels at the truth's size
            yield index, confusion_matrix(truth, prediction, dataset.num_classes, ignore_id=dataset.ignore_id)


def _scores(matrix: CountMatrix, dataset: Dataset, *, images: int) -> Scores:
    return Scores.from_matrix(
        matrix, class_names=dataset.class_names, background_id=dataset.background_id, images=images
    )
