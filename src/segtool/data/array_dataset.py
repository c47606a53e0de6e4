"""Data sets that are held in two arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import AnyArray, IndexArray, IntegerArray, UInt8Array
from segtool.data.arrays import blocks, narrow_labels, to_integer_labels, to_uint8_images
from segtool.data.base import PARTS, Dataset, Origin, Size, show_size
from segtool.data.classes import Classes
from segtool.data.problem import Problem
from segtool.errors import DataError
from segtool.text import counted


class ArrayDataset(Dataset):
    """A data set held in two arrays, which may be memory-mapped.

    Parameters
    ----------
    images
        (N, H, W), (N, H, W, 1) or (N, H, W, 3), integers 0..255.
    labels
        (N, H, W) class ids 0..K-1 and possibly the ignore id, or one-hot (N, H, W, K).
    classes
        Names and special ids.
    source
        Where the arrays come from.
    splits
        Predefined index arrays by name; None to split later.

    Raises
    ------
    DataError
        Numbers or sizes that differ, float images, labels out of range, splits that overlap or are out of range.
    """

    decodes = False

    def __init__(
        self,
        images: AnyArray,
        labels: AnyArray,
        *,
        classes: Classes,
        source: Origin | None = None,
        splits: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        super().__init__(classes=classes, source=source or Origin(), splits=splits)
        self._images = to_uint8_images(images, source=self.spec)
        raw = to_integer_labels(labels, source=self.spec)
        for problem in mismatches(self._images, raw, spec=self.spec):
            raise DataError(problem.message)
        _require_range(raw, classes, source=self.spec)
        self._labels = narrow_labels(raw, classes.largest_label)
        self.sample_names = array_names(len(self._images))
        self.channels = int(self._images.shape[-1])
        _require_splits(self.splits, len(self), self.spec)

    @property
    def image_size(self) -> Size:
        """(height, width) of all images in pixels."""
        return self._images.shape[1], self._images.shape[2]

    def image(self, index: int) -> UInt8Array:
        """Return image `index`, uint8 (H, W, C)."""
        return np.asarray(self._images[index])

    def label(self, index: int) -> IntegerArray:
        """Return label map `index`, uint8 or uint16 (H, W)."""
        return np.asarray(self._labels[index])

    def images(self, indices: Sequence[int] | npt.NDArray[Any], *, size: Size | None = None) -> UInt8Array:
        """Return images as in `Dataset.images`; at their own size by one indexing."""
        if size in (None, self.image_size):
            return np.asarray(self._images[np.asarray(indices, np.intp)])
        return super().images(indices, size=size)

    def labels(self, indices: Sequence[int] | npt.NDArray[Any], *, size: Size | None = None) -> IntegerArray:
        """Return label maps as in `Dataset.labels`; at their own size by one indexing."""
        if size in (None, self.image_size):
            return np.asarray(self._labels[np.asarray(indices, np.intp)])
        return super().labels(indices, size=size)


def array_names(count: int) -> list[str]:
    """Return the names of samples that have none of their own: image_00000, image_00001, ..."""
    return [f"image_{index:05d}" for index in range(count)]


def mismatches(images: AnyArray, labels: AnyArray, *, spec: str) -> list[Problem]:
    """Return that images (N, H, W, C) and labels (N, H, W) are of different numbers or sizes."""
    found = []
    if images.shape[1:3] != labels.shape[1:3]:
        message = (
            f"The images of {spec} are {show_size(images.shape[1:3])} and its label maps "
            f"{show_size(labels.shape[1:3])} (height x width), expected the same size; crop or resize one of them."
        )
        found.append(Problem("size", spec, message))
    if len(images) != len(labels):
        message = (
            f"{spec} has {len(images)} images and {len(labels)} label maps, expected one label map for each image; "
            "make the two arrays equally long."
        )
        found.append(Problem("missing", spec, message))
    return found


def _require_range(labels: IntegerArray, classes: Classes, *, source: str) -> None:
    count = len(classes.names)
    for part in blocks(labels):
        block = np.asarray(labels[part])
        wrong = (block < 0) | (block >= count)
        if classes.ignore_id is not None:
            wrong &= block != classes.ignore_id
        if wrong.any():
            ignored = "" if classes.ignore_id is None else f" and {classes.ignore_id} (ignored)"
            raise DataError(
                f"The label map of image {part.start + int(np.argwhere(wrong)[0, 0])} of {source} holds "
                f"{np.unique(block[wrong]).tolist()[:12]}, expected class ids 0..{count - 1}{ignored}; correct the "
                "labels, or name the missing classes or the ignore id."
            )


def _require_splits(splits: Mapping[str, IndexArray] | None, count: int, source: str) -> None:
    for name, part in (splits or {}).items():
        if name not in PARTS or (part.size and (part.min() < 0 or part.max() >= count)):
            raise DataError(
                f"The split {name!r} of {source} is not usable with its {counted(count, 'image')}, expected train, val "
                f"or test with indices 0..{count - 1}; give others."
            )
        if not part.size:
            raise DataError(f"The split {name!r} of {source} is empty, expected an index at least; leave it out.")
    every = np.concatenate([np.empty(0, np.intp), *(splits or {}).values()])
    twice = np.flatnonzero(np.bincount(every, minlength=1) > 1)
    if twice.size:
        raise DataError(
            f"The splits of {source} share {counted(twice.size, 'image')} (the first is {twice[0]}), expected each in "
            "one part at most; give others, or a validation would score images that were trained on."
        )
