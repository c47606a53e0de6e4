"""Data sets that are held in two arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray, UInt8Array
from segtool.data.base import Dataset, Origin, Size
from segtool.data.classes import Classes


class ArrayDataset(Dataset):
    """A data set held in two arrays, which may be memory-mapped; `segtool.data.array_loading` checks what files hold.

    Parameters
    ----------
    images
        uint8 (N, H, W, C) with 1 or 3 channels.
    labels
        uint8 or uint16 (N, H, W): class ids and possibly the ignore id.
    classes
        Names and special ids.
    source
        Where the arrays come from.
    splits
        Predefined index arrays by name; None to split later.
    """

    decodes = False

    def __init__(
        self,
        images: UInt8Array,
        labels: IntegerArray,
        *,
        classes: Classes,
        source: Origin | None = None,
        splits: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        super().__init__(classes=classes, source=source or Origin(), splits=splits)
        self._images, self._labels = images, labels
        self.sample_names = array_names(len(images))
        self.channels = int(images.shape[-1])

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
