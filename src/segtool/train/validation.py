"""Scoring a network during training on images that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from segtool.evaluate.scoring import images_at_once
from segtool.images.pixels import ArrayPixels
from segtool.metrics import Scores, confusion_matrix
from segtool.runtime.tiling import cut_tile, predict_tiled, spans


def score_network(
    model: keras.Model,
    images: Sequence[npt.NDArray[np.uint8]],
    labels: Sequence[npt.NDArray[np.integer[Any]]],
    *,
    num_classes: int,
    ignore_id: int | None = None,
) -> tuple[npt.NDArray[np.int64], float]:
    """Return the confusion matrix int64 (K, K) over all images, and the mean cross-entropy per pixel in nats.

    Parameters
    ----------
    model
        Maps uint8 (N, H, W, C) to probabilities (N, H, W, K).
    images
        uint8 (H, W, C) each, of any sizes; those of another size than the network's are scored in tiles, as in a
        prediction.
    labels
        integers (H, W) each; pixels equal to `ignore_id` do not count.
    """
    matrix = np.zeros((num_classes, num_classes), np.int64)
    loss_sum, pixels = 0.0, 0
    for truth, probabilities in _pairs(model, images, labels):
        matrix += confusion_matrix(truth, probabilities.argmax(-1), num_classes, ignore_id=ignore_id)
        counted = np.ones(truth.shape, bool) if ignore_id is None else truth != ignore_id
        of_truth = np.take_along_axis(probabilities, np.where(counted, truth, 0)[..., None].astype(np.intp), -1)[..., 0]
        loss_sum -= float(np.log(np.maximum(of_truth[counted], 1e-7), dtype=np.float64).sum())
        pixels += int(counted.sum())
    return matrix, loss_sum / max(pixels, 1)


@dataclass(frozen=True)
class ValidationSet:
    """The images and labels that each epoch is scored on, as in `score_network`, and their classes."""

    images: Sequence[npt.NDArray[np.uint8]]
    labels: Sequence[npt.NDArray[np.integer[Any]]]
    class_names: tuple[str, ...]
    background_id: int | None
    ignore_id: int | None

    def score(self, model: keras.Model) -> tuple[Scores, float]:
        """Return the scores of `model` and its mean cross-entropy per pixel in nats."""
        matrix, loss = score_network(
            model, self.images, self.labels, num_classes=len(self.class_names), ignore_id=self.ignore_id
        )
        scores = Scores.from_matrix(
            matrix, class_names=self.class_names, background_id=self.background_id, images=len(self.images)
        )
        return scores, loss


def predict_labels(model: keras.Model, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return the class ids (H, W) of an image uint8 (H, W, C), in tiles if its size differs from the network's."""
    return predict_tiled(ArrayPixels(image), _size(model), lambda tiles: model.predict_on_batch(tiles).argmax(-1))


def _pairs(
    model: keras.Model, images: Sequence[npt.NDArray[np.uint8]], labels: Sequence[npt.NDArray[np.integer[Any]]]
) -> Iterator[tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.float32]]]:
    """Yield labels (..., H, W) and the network's probabilities float32 (..., H, W, K), in parts."""
    size = _size(model)
    tiles = (tile for pair in zip(images, labels, strict=True) for tile in _tiles(*pair, size))
    while group := list(islice(tiles, images_at_once(size, most=100))):  # across images: each batch size traces a graph
        predictions = np.asarray(model.predict_on_batch(np.stack([tile for tile, _, _ in group])), np.float32)
        if all(truth.shape == size for _, truth, _ in group):
            yield np.stack([truth for _, truth, _ in group]), predictions
            continue
        for prediction, (_, truth, inner) in zip(predictions, group, strict=True):
            yield truth, prediction[inner]


def _tiles(
    image: npt.NDArray[np.uint8], label: npt.NDArray[np.integer[Any]], size: tuple[int, int]
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer[Any]], tuple[slice, slice]]]:
    """Yield the tiles of an image, the labels that each tile covers, and their position in the tile."""
    rows, columns = (spans(length, tile) for length, tile in zip(label.shape, size, strict=True))
    for row, column in product(rows, columns):
        tile = cut_tile(ArrayPixels(image), row.start, column.start, size)
        yield tile, label[row.image_slice, column.image_slice], (row.tile_slice, column.tile_slice)


def _size(model: keras.Model) -> tuple[int, int]:
    height, width = model.inputs[0].shape[1:3]
    return height, width
