"""What every data set offers: images with label maps, names, classes, predefined splits, a fingerprint."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import AnyArray, IntegerArray, UInt8Array
from segtool.data.classes import Classes
from segtool.errors import DataError
from segtool.images.image_io import resize_labels
from segtool.images.pixels import resize_image

Size = tuple[int, int]
PARTS = ("train", "val", "test")
"""The names that predefined parts may have."""


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from.

    `name` is a short name for people, `spec` the argument of `load_dataset`, and `provenance` says how the data were
    made, their licence and the like, as far as it is known.
    """

    name: str = "arrays"
    spec: str = "arrays"
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Dataset(ABC):
    """Images with a label map each.

    Attributes
    ----------
    classes
        The names and special ids; also as `class_names`, `background_id` and `ignore_id`.
    name, spec, provenance
        Where it comes from, as in `Origin`.
    splits
        Predefined index arrays by name ("train", "val", "test"); None where there are none.
    sample_names
        One name for each sample, unique.
    channels
        1 (grey) or 3 (RGB), the same for all images.
    decodes
        Whether `image` and `label` decode a file each time; if not, they are views of arrays.
    """

    decodes = True

    def __init__(self, *, classes: Classes, source: Origin, splits: Mapping[str, npt.ArrayLike] | None = None) -> None:
        self.classes = classes
        self.class_names = classes.names
        self.background_id = classes.background_id
        self.ignore_id = classes.ignore_id
        self.name, self.spec, self.provenance = source.name, source.spec, source.provenance
        self.splits = None if splits is None else {name: np.asarray(part, np.intp) for name, part in splits.items()}
        self.sample_names: list[str] = []
        self.channels = 1
        self._fingerprint: str | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes.names)

    def __len__(self) -> int:
        return len(self.sample_names)

    @property
    @abstractmethod
    def image_size(self) -> Size | None:
        """(height, width) of all images in pixels; None where they differ."""

    def sizes(self) -> list[Size]:
        """Return the (height, width) of each image in pixels."""
        return [self.image_size or self.label(index).shape for index in range(len(self))]

    @abstractmethod
    def image(self, index: int) -> UInt8Array:
        """Return image `index`, uint8 (H, W, C)."""

    @abstractmethod
    def label(self, index: int) -> IntegerArray:
        """Return label map `index`, uint8 or uint16 (H, W): class ids and possibly the ignore id."""

    def images(self, indices: Sequence[int] | npt.NDArray[Any], *, size: Size | None = None) -> UInt8Array:
        """Return images as uint8 (n, h, w, C), resized bilinearly where `size` differs from their own."""
        found = (self.image(int(index)) for index in indices)
        return _stack([image if size is None else resize_image(image, *size) for image in found], self.name)

    def labels(self, indices: Sequence[int] | npt.NDArray[Any], *, size: Size | None = None) -> IntegerArray:
        """Return label maps (n, h, w), resized by nearest neighbour where `size` differs from their own."""
        found = (self.label(int(index)) for index in indices)
        return _stack([label if size is None else resize_labels(label, *size) for label in found], self.name)

    def arrays(
        self, indices: Sequence[int] | npt.NDArray[Any], *, size: Size | None = None
    ) -> tuple[UInt8Array, IntegerArray]:
        """Return (images uint8 (n, h, w, C), labels (n, h, w)) of some samples, in the order of `indices`.

        All are resized to `size`, (height, width) in pixels. If it is None and their own sizes differ, or if a file
        cannot be read, a DataError is raised.
        """
        return self.images(indices, size=size), self.labels(indices, size=size)

    def fingerprint(self, samples: Iterable[tuple[UInt8Array, IntegerArray]] | None = None) -> str:
        """Return the SHA-256, in hex, over all decoded images and labels, the class names and given parts; cached.

        The same pixels give the same fingerprint whatever file format they come from. `samples` are the image and the
        label map of each index in order, from a caller that decodes them for another purpose too.
        """
        if self._fingerprint is None:
            digest = hashlib.sha256(json.dumps(self.class_names).encode())
            if samples is None:
                samples = ((self.image(index), self.label(index)) for index in range(len(self)))
            for image, label in samples:
                digest.update(np.array(image.shape, "<u4").tobytes())
                digest.update(np.ascontiguousarray(image).tobytes())
                digest.update(label.astype("<u2").tobytes())
            for part, indices in sorted((self.splits or {}).items()):
                digest.update(part.encode() + np.asarray(indices, "<i8").tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint


def _stack(parts: list[AnyArray], name: str) -> AnyArray:
    if not parts:
        raise DataError(f"No images of {name} were asked for, expected one at least; choose another split.")
    sizes = sorted({part.shape[:2] for part in parts})
    if len(sizes) > 1:
        raise DataError(
            f"The images of {name} have different sizes ({show_size(sizes[0])}, {show_size(sizes[1])}, ...), "
            "expected one size; give a size that all are resized to (--size HxW)."
        )
    return np.stack(parts)


def show_size(shape: tuple[int, ...]) -> str:
    """Return the first two axes of a shape as "height x width"."""
    return f"{shape[0]} x {shape[1]}"
