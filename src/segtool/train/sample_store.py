"""The training and validation samples: decoded once where they fit in memory, else when they are needed."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.array_types import IndexArray, Int64Array, IntegerArray, UInt8Array
from segtool.data.base import Dataset, Size
from segtool.images.arrays import count_labels
from segtool.images.image_io import resize_labels
from segtool.images.pixels import resize_image
from segtool.machine.memory import available_memory
from segtool.machine.processors import available_cpus
from segtool.runtime.stream import ordered_map
from segtool.train.recent_arrays import RecentArrays

MEMORY_SHARE = 1 / 3
"""Of the available memory, for the samples; the network's activations need the rest."""
_UNKNOWN_MEMORY = 2**32  # bytes, if the system does not report it
_RECENT_SHARE = 1 / 2  # of the budget, for the samples that were decoded last
_MOST_THREADS = 8  # of the first pass; each holds a decoded sample
Sample = tuple[UInt8Array, IntegerArray]
Indices = Sequence[int] | IndexArray
Item = TypeVar("Item")
Array = TypeVar("Array", bound=npt.NDArray[Any])


class SampleStore:
    """The samples of a data set at the size of the training, in bounded memory.

    One pass decodes each file once. It computes the fingerprint of the data set and the class counts. If all samples
    fit in the budget, they are kept as arrays. Otherwise labels are kept compressed, the first images that fit are
    kept as arrays, and the others are decoded again when they are needed. Those that were decoded last stay in a part
    of the budget. The samples are the same in each case.

    Parameters
    ----------
    data
        The data set. Arrays at their own size are not copied, and need no budget.
    indices
        The samples that are kept, such as the training and validation parts.
    size
        (height, width) that all samples are resized to, in pixels; None for their own sizes.
    budget
        Bytes for the samples; None for a share of the available memory.
    """

    def __init__(self, data: Dataset, indices: Indices, *, size: Size | None = None, budget: int | None = None) -> None:
        self.data, self._size = data, size
        self._wanted = {int(index) for index in indices}
        self._label_type = np.min_scalar_type(data.classes.largest_label)
        self._own = data.sizes()
        if budget is None:
            budget = int((available_memory() or _UNKNOWN_MEMORY) * MEMORY_SHARE)
        needed = sum(self._bytes(index) for index in self._wanted)
        self._compressed = needed > budget
        self._room = int(budget * (1 - _RECENT_SHARE)) if self._compressed else budget
        self._images: dict[int, UInt8Array] = {}
        self._labels: dict[int, IntegerArray | bytes] = {}
        self._counts: dict[int, Int64Array] = {}
        self._recent = RecentArrays(budget - self._room)
        self._is_direct = not data.decodes and size in (None, data.image_size)

    def size(self, index: int) -> Size:
        """Return the (height, width) of a sample in pixels."""
        return self._size or self._own[index]

    def read(self) -> None:
        """Decode all samples once: fill the store, count the classes and compute the data set's fingerprint.

        Raises
        ------
        DataError
            A file cannot be read.
        """
        samples = self._read_in_order()
        self.data.fingerprint(samples)
        deque(samples, maxlen=0)  # where the fingerprint was known

    def image(self, index: int) -> UInt8Array:
        """Return an image uint8 (H, W, C)."""
        if self._is_direct:
            return self.data.image(index)
        kept = self._images.get(index)
        return self._recent.get(("image", index), self._decoded_image) if kept is None else kept

    def label(self, index: int) -> IntegerArray:
        """Return a label map (H, W)."""
        if self._is_direct:
            return self.data.label(index)
        kept = self._labels.get(index)
        return kept if isinstance(kept, np.ndarray) else self._recent.get(("label", index), self._unpacked_label)

    def images(self, indices: Indices) -> StoredSequence[UInt8Array]:
        """Return the images of some samples as a sequence."""
        return StoredSequence(self.image, indices)

    def labels(self, indices: Indices) -> StoredSequence[IntegerArray]:
        """Return the label maps of some samples as a sequence."""
        return StoredSequence(self.label, indices)

    def counts(self, indices: Indices) -> Int64Array:
        """Return the number of pixels of each class in some samples, int64 (n, K), after `read`."""
        return np.array([self._counts[int(index)] for index in indices]).reshape(-1, self.data.num_classes)

    def _bytes(self, index: int) -> int:
        height, width = self.size(index)
        return height * width * (self.data.channels + self._label_type.itemsize)

    def _read_in_order(self) -> Iterator[Sample]:
        """Yield the decoded image and label map of each index, and keep what is wanted of them."""
        threads = min(available_cpus(), _MOST_THREADS) if self.data.decodes else 1
        samples = ordered_map(self._read_one, range(len(self.data)), workers=threads, ahead=1)
        for index, (sample, kept) in enumerate(samples):
            if kept is not None:
                self._keep(index, *kept)
            yield sample

    def _read_one(self, index: int) -> tuple[Sample, tuple[UInt8Array, IntegerArray | bytes, Int64Array] | None]:
        """Return a sample; and if it is wanted, its image and label map at the training's size, and its counts."""
        image, label = self.data.image(index), self.data.label(index)
        if index not in self._wanted:
            return (image, label), None
        scaled = self._scaled_label(label)
        # Maps of a few classes need a hundredth of their pixels.
        packed = zlib.compress(scaled.tobytes(), 1) if self._compressed and not self._is_direct else scaled
        return (image, label), (self._scaled(image), packed, count_labels(scaled, self.data.num_classes))

    def _keep(self, index: int, image: UInt8Array, label: IntegerArray | bytes, counts: Int64Array) -> None:
        self._counts[index] = counts
        if self._is_direct:
            return
        size = len(label) if isinstance(label, bytes) else label.nbytes
        if size <= self._room:
            self._labels[index] = label
            self._room -= size
        if image.nbytes <= self._room - self._labels_to_come(size):
            self._images[index] = image
            self._room -= image.nbytes

    def _labels_to_come(self, like: int) -> int:
        """Return the bytes that the labels will need that are not read yet, if they are as large as this one."""
        return like * (len(self._wanted) - len(self._counts)) if self._compressed else 0

    def _decoded_image(self, index: int) -> UInt8Array:
        return self._scaled(self.data.image(index))

    def _unpacked_label(self, index: int) -> IntegerArray:
        packed = self._labels.get(index)
        if isinstance(packed, bytes):
            return np.frombuffer(zlib.decompress(packed), self._label_type).reshape(self.size(index))
        return self._scaled_label(self.data.label(index))

    def _scaled(self, image: UInt8Array) -> UInt8Array:
        return image if self._size is None else resize_image(image, *self._size)

    def _scaled_label(self, label: IntegerArray) -> IntegerArray:
        return label if self._size is None else resize_labels(label, *self._size)


class StoredSequence(Sequence[Array], Generic[Array]):
    """Some images or label maps of a store, each read when it is asked for."""

    def __init__(self, read: Callable[[int], Array], indices: Indices) -> None:
        self._read, self._indices = read, [int(index) for index in indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: Any) -> Any:  # an index; no slice is asked for
        return self._read(self._indices[position])
