"""Scoring a network during training on images that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from segtool.data.classes import Classes
from segtool.evaluate.scoring import images_at_once
from segtool.images.pixels import ArrayPixels
from segtool.metrics import Scores, confusion_matrix
from segtool.runtime.tiling import cut_tile, predict_tiled, spans


@dataclass(frozen=True)
class ValidationSet:
    """The images that each epoch is scored on.

    Attributes
    ----------
    images
        uint8 (H, W, C) each, of any sizes; those of another size than the network's are scored in tiles, as in a
        prediction.
    labels
        integers (H, W) each.
    classes
        Names of the K classes; pixels equal to its ignore id do not count.
    """

    images: Sequence[npt.NDArray[np.uint8]]
    labels: Sequence[npt.NDArray[np.integer[Any]]]
    classes: Classes

    def score(self, model: keras.Model) -> tuple[Scores, float]:
        """Return the scores of a network over all images, and its mean cross-entropy per pixel in nats.

        Parameters
        ----------
        model
            Maps uint8 (N, H, W, C) to probabilities (N, H, W, K).
        """
        ignore_id, count = self.classes.ignore_id, len(self.classes.names)
        matrix = np.zeros((count, count), np.int64)
        loss_sum, pixels = 0.0, 0
        for truth, probabilities in _pairs(model, self.images, self.labels):
            matrix += confusion_matrix(truth, probabilities.argmax(-1), count, ignore_id=ignore_id)
            counted = np.ones(truth.shape, bool) if ignore_id is None else truth != ignore_id
            classes = np.where(counted, truth, 0)[..., None].astype(np.intp)
            of_truth = np.take_along_axis(probabilities, classes, -1)[..., 0]
            loss_sum -= float(np.log(np.maximum(of_truth[counted], 1e-7), dtype=np.float64).sum())
            pixels += int(counted.sum())
        scores = Scores.from_matrix(
            matrix,
            class_names=self.classes.names,
            background_id=self.classes.background_id,
            images=len(self.images),
        )
        return scores, loss_sum / max(pixels, 1)


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
