"""Batches of training images, shuffled and augmented differently in each epoch; a resume gives the same ones.

Threads prepare the next batches during a step. Keras would use one thread on TensorFlow and none on JAX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt

from segtool.errors import SegtoolError
from segtool.machine.processors import available_cpus
from segtool.train.augmentation import Augmenter

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.float32]]
MOST_THREADS = 8
Taken = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer[Any]]]
"""Images (n, H, W, C) and labels (n, H, W)."""


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # keras carries no types
    """Seeded batches of (images, labels, pixel weights) for `keras.Model.fit`.

    The order and the augmentation of epoch e depend only on (seed, e), so a resumed run sees the same batches as a run
    without interruption. As a context manager it ends its threads, and raises the error of a batch that could not be
    made in place of the backend's own.

    Parameters
    ----------
    images
        uint8 (H, W, C) each, of one size, or the array (N, H, W, C).
    labels
        integers (H, W) each; pixels equal to `ignore_id` get weight 0.
    batch_size
        Images per batch; the last batch of an epoch may be smaller.
    augmenter
        Applied to each batch; None for no augmentation. Pixels from outside the image get weight 0.
    ignore_id
        Label of pixels that do not count; None if there is none.
    seed
        Seed of the order and the augmentation.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
        labels: Sequence[npt.NDArray[np.integer[Any]]] | npt.NDArray[np.integer[Any]],
        *,
        batch_size: int,
        augmenter: Augmenter | None = None,
        ignore_id: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(workers=1)
        self.images, self.batch_size, self.augmenter, self.seed = images, batch_size, augmenter, seed
        self.labels, self.ignore_id = labels, ignore_id
        # One core is left to the steps.
        self._threads = min(MOST_THREADS, max(1, available_cpus() - 1))
        self._pool = ThreadPoolExecutor(self._threads, "batches")
        self._lock = Lock()
        self._error: SegtoolError | None = None
        self._coming: dict[int, Future[Batch]] = {}
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set the order and the augmentation for epoch `epoch` (0, 1, ...)."""
        with self._lock:
            for batch in self._coming.values():
                batch.cancel()
            self._coming.clear()
            self.epoch, self._order = epoch, self.order(np.random.default_rng([self.seed, epoch]))

    def on_epoch_end(self) -> None:
        """Start the next epoch; Keras calls this."""
        self.start_epoch(self.epoch + 1)

    def count(self) -> int:
        """Return the number of images in an epoch."""
        return len(self.images)

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Return the order of the images of an epoch."""
        return rng.permutation(self.count())

    def take(self, chosen: npt.NDArray[np.intp], epoch: int, index: int) -> Taken:  # noqa: ARG002 - subclasses use it
        """Return the images `chosen` for batch `index` of an epoch, before augmentation."""
        return np.stack([self.images[one] for one in chosen]), np.stack([self.labels[one] for one in chosen])

    def __len__(self) -> int:
        return math.ceil(self.count() / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        with self._lock:
            for later in range(index, min(index + self._threads + 1, len(self))):
                if later not in self._coming:
                    chosen = self._order[later * self.batch_size : (later + 1) * self.batch_size]
                    self._coming[later] = self._pool.submit(self._make, chosen, self.epoch, later)
            batch = self._coming.pop(index)
        return batch.result()

    def _make(self, chosen: npt.NDArray[np.intp], epoch: int, index: int) -> Batch:
        try:
            images, labels = self.take(chosen, epoch, index)
        except SegtoolError as error:
            self._error = error
            raise
        counted = np.ones(labels.shape, np.bool_)
        if self.augmenter:
            images, labels, counted = self.augmenter(images, labels, np.random.default_rng([self.seed, epoch, index]))
        if self.ignore_id is not None:
            counted &= labels != self.ignore_id
        return images, np.where(counted, labels, 0).astype(np.int32), counted.astype(np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._error is not None and isinstance(error, Exception):
            raise self._error from error
