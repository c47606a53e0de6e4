"""Images of a report: their scores, the worst and the best, and the label changes between two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray
from segtool.data.base import Dataset
from segtool.evaluate.evaluation import Evaluation
from segtool.images.image_io import resize_labels
from segtool.metrics import confusion_matrix
from segtool.models.predictor import Predictor

_LISTED = 12


@dataclass(frozen=True)
class ImageScore:
    """The scores of one model on one image.

    Attributes
    ----------
    index, name
        Index and name of the image in the data set.
    foreground_mean_iou, pixel_accuracy
        From the pixels of this image, 0..1; NaN if no pixel counts.
    wrong
        Number of wrong pixels.
    foreground
        Number of true pixels that are not background.
    """

    index: int
    name: str
    foreground_mean_iou: float
    pixel_accuracy: float
    wrong: int
    foreground: int


@dataclass
class Changes:
    """The differences between the labels of two models.

    Attributes
    ----------
    pixels, changed
        Numbers of compared and of different pixels.
    images
        (index, name, changed pixels) of the images with a change.
    moves
        int64 (K, K): pixels by the label of the first and of the second model.
    """

    moves: npt.NDArray[np.int64]
    pixels: int = 0
    changed: int = 0
    images: list[tuple[int, str, int]] = field(default_factory=list)

    def add(self, index: int, name: str, first: IntegerArray, second: IntegerArray) -> None:
        """Count the labels (h, w) that two models gave for one image."""
        differ = first != second
        count = int(differ.sum())
        self.pixels += differ.size
        self.changed += count
        if count:
            self.images.append((index, name, count))
            self.moves += confusion_matrix(first[differ], second[differ], len(self.moves))

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the counts as JSON values, with the images and classes that changed most."""
        most = sorted(self.images, key=lambda item: (-item[2], item[0]))[:_LISTED]
        return {
            "pixels": self.pixels,
            "changed_pixels": self.changed,
            "agreement": 1 - self.changed / self.pixels,
            "changed_images": len(self.images),
            "images": [{"index": index, "image": name, "changed_pixels": count} for index, name, count in most],
            "moves": largest_confusions(self.moves, class_names),
        }


def image_scores(evaluation: Evaluation) -> list[ImageScore]:
    """Return the scores of each image from the counts of an evaluation."""
    counts, background = evaluation.tally.counts, evaluation.selection.data.background_id
    total = counts.truth.sum(axis=1)
    foreground = total if background is None else total - counts.truth[:, background]
    columns = (
        evaluation.selection.indices,
        evaluation.selection.names,
        evaluation.per_image["foreground_mean_iou"],
        evaluation.per_image["pixel_accuracy"],
        total - counts.hits.sum(axis=1),
        foreground,
    )
    return [
        ImageScore(int(index), name, float(iou), float(accuracy), wrong=int(wrong), foreground=int(pixels))
        for index, name, iou, accuracy, wrong, pixels in zip(*columns, strict=True)
    ]


def extremes(scores: Sequence[ImageScore], count: int) -> tuple[list[ImageScore], list[ImageScore]]:
    """Return the worst and the best images, at most `count` of each, no image in both.

    The worst have the lowest foreground IoU; ties are ordered by the number of wrong pixels. The best have the highest
    IoU and the fewest wrong pixels; ties are ordered by the amount of foreground, because an empty image shows little.
    Images without a foreground IoU are in neither.
    """
    usable = [score for score in scores if score.foreground_mean_iou == score.foreground_mean_iou]
    worst = sorted(usable, key=lambda each: (each.foreground_mean_iou, -each.wrong, each.index))[:count]
    rest = [score for score in usable if score not in worst]
    best = sorted(rest, key=lambda each: (-each.foreground_mean_iou, each.wrong, -each.foreground, each.index))[:count]
    return worst, best


def largest_confusions(
    matrix: npt.NDArray[np.int64], class_names: Sequence[str], *, most: int = 8
) -> list[dict[str, Any]]:
    """Return the pairs of different classes with the most pixels, the largest first: from, to, pixels."""
    off = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    places = zip(*np.unravel_index(order, off.shape), strict=True)
    found = [(int(row), int(column), int(off[row, column])) for row, column in places]
    return [
        {"from": class_names[row], "to": class_names[column], "from_id": row, "to_id": column, "pixels": pixels}
        for row, column, pixels in found
        if pixels
    ]


def labels_at(predictor: Predictor, dataset: Dataset, index: int) -> IntegerArray:
    """Return the labels of a model for one image, (h, w) at the size of its truth."""
    if predictor.answer_image is not None:
        return predictor.answer_image(dataset.image(index))[0]
    size = predictor.contract.height, predictor.contract.width
    labels = predictor.predict_batch(dataset.images([index], size=size))[0]
    truth = dataset.label(index)
    return labels if labels.shape == truth.shape else resize_labels(labels, *truth.shape)
