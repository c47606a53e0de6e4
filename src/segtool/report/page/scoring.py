"""Running the models of a report over the same images, image by image, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.base import Dataset, Indices
from segtool.evaluate.scoring import images_at_once
from segtool.images.image_io import resize_labels
from segtool.metrics import Scores, confusion_matrix
from segtool.models.predictor import Predictor

Labels = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int], None]
_LISTED = 12


@dataclass(frozen=True)
class ImageScore:
    """What one model scored on one image.

    Attributes
    ----------
    index, name
        Which image of the data set.
    foreground_mean_iou, pixel_accuracy
        From this image's own pixels, 0..1; NaN where nothing counts.
    wrong
        Pixels with another class than the truth's.
    foreground
        True pixels that are not background.
    """

    index: int
    name: str
    foreground_mean_iou: float
    pixel_accuracy: float
    wrong: int
    foreground: int


@dataclass
class Changes:
    """Where two models give different labels.

    Attributes
    ----------
    pixels, changed
        Compared, and different.
    images
        (index, name, changed pixels) of the images with a change.
    moves
        int64 (K, K): pixels by the label of the first and of the second model.
    """

    moves: npt.NDArray[np.int64]
    pixels: int = 0
    changed: int = 0
    images: list[tuple[int, str, int]] = field(default_factory=list)

    def add(self, index: int, name: str, first: Labels, second: Labels) -> None:
        """Count the labels (h, w) that two models gave for one image."""
        differ = first != second
        count = int(differ.sum())
        self.pixels += differ.size
        self.changed += count
        if count:
            self.images.append((index, name, count))
            self.moves += confusion_matrix(first[differ], second[differ], len(self.moves))

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the counts for JSON, with the images and the classes that changed most."""
        most = sorted(self.images, key=lambda item: (-item[2], item[0]))[:_LISTED]
        return {
            "pixels": self.pixels,
            "changed_pixels": self.changed,
            "agreement": 1 - self.changed / self.pixels,
            "changed_images": len(self.images),
            "images": [{"index": index, "image": name, "changed_pixels": count} for index, name, count in most],
            "moves": largest_confusions(self.moves, class_names),
        }


def score_images(
    predictors: Mapping[str, Predictor],
    pairs: Sequence[tuple[str, str]],
    dataset: Dataset,
    indices: Indices,
    *,
    progress: Progress | None = None,
) -> tuple[dict[str, list[ImageScore]], dict[tuple[str, str], Changes]]:
    """Score models on the same images, and count where those of a pair differ.

    Parameters
    ----------
    predictors
        The models, by any key.
    pairs
        Keys of two models whose labels are compared.
    dataset, indices
        The images; each is scored at the size of its truth.
    progress
        Called with (images done, images in all).
    """
    scores: dict[str, list[ImageScore]] = {key: [] for key in predictors}
    size = dataset.num_classes
    changes = {pair: Changes(np.zeros((size, size), np.int64)) for pair in pairs}
    for done, (index, truth, labels) in enumerate(_predicted(predictors, dataset, indices), start=1):
        name = dataset.sample_names[index]
        for key, prediction in labels.items():
            scores[key].append(_score(index, truth, prediction, dataset))
        for (first, second), change in changes.items():
            change.add(index, name, labels[first], labels[second])
        if progress is not None:
            progress(done, len(indices))
    return scores, changes


def extremes(scores: Sequence[ImageScore], count: int) -> tuple[list[ImageScore], list[ImageScore]]:
    """Return the worst and the best images, at most `count` of each, no image in both.

    The worst have the lowest foreground IoU, and of equal ones most wrong pixels; of the best equal ones those with
    most foreground come first, as an empty image shows little. Images where nothing counts are in neither.
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


def labels_at(predictor: Predictor, dataset: Dataset, index: int) -> Labels:
    """Return what a model says of one image, (h, w) at the size of its truth."""
    if predictor.answer_image is not None:
        return predictor.answer_image(dataset.image(index))[0]
    size = predictor.contract.height, predictor.contract.width
    labels = predictor.predict_batch(dataset.images([index], size=size))[0]
    return _at_size(labels, dataset.label(index))


def _predicted(
    predictors: Mapping[str, Predictor], dataset: Dataset, indices: Indices
) -> Iterator[tuple[int, Labels, dict[str, Labels]]]:
    sizes = {key: (each.contract.height, each.contract.width) for key, each in predictors.items()}
    resizing = {key: each for key, each in predictors.items() if each.answer_image is None}
    batch = min(images_at_once(size) for size in sizes.values())
    for start in range(0, len(indices), batch):
        part = [int(index) for index in indices[start : start + batch]]
        stacks = {size: dataset.images(part, size=size) for size in {sizes[key] for key in resizing}}
        answers = {key: each.predict_batch(stacks[sizes[key]]) for key, each in resizing.items()}
        for place, index in enumerate(part):
            truth = dataset.label(index)
            labels = {
                key: _at_size(answers[key][place], truth) if key in answers else labels_at(each, dataset, index)
                for key, each in predictors.items()
            }
            yield index, truth, labels


def _at_size(labels: Labels, truth: Labels) -> Labels:
    return labels if labels.shape == truth.shape else resize_labels(labels, *truth.shape)


def _score(index: int, truth: Labels, prediction: Labels, dataset: Dataset) -> ImageScore:
    matrix = confusion_matrix(truth, prediction, dataset.num_classes, ignore_id=dataset.ignore_id)
    scores = Scores.from_matrix(matrix, class_names=dataset.class_names, background_id=dataset.background_id, images=1)
    background = 0 if dataset.background_id is None else int(matrix[dataset.background_id].sum())
    return ImageScore(
        index,
        dataset.sample_names[index],
        scores.foreground_mean_iou,
        scores.pixel_accuracy,
        wrong=int(matrix.sum() - np.trace(matrix)),
        foreground=int(matrix.sum()) - background,
    )
