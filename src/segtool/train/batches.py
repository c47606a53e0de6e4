"""Batches of training images, shuffled and augmented differently in each epoch; a resume gives the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from segtool.train.augmentation import Augmenter

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.float32]]
Taken = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer[Any]]]
"""Images (n, H, W, C) and labels (n, H, W)."""


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]  # keras carries no types
    """Seeded batches of (images, labels, pixel weights) for `keras.Model.fit`.

    The order and the augmentation of epoch e depend only on (seed, e), so a resumed run sees the same batches as a run
    without interruption.

    Parameters
    ----------
    images
        uint8 (N, H, W, C).
    labels
        integers (N, H, W); pixels equal to `ignore_id` get weight 0.
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
        images: npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]],
        labels: npt.NDArray[np.integer[Any]] | Sequence[npt.NDArray[np.integer[Any]]],
        *,
        batch_size: int,
        augmenter: Augmenter | None = None,
        ignore_id: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(workers=1)
        self.images, self.batch_size, self.augmenter, self.seed = images, batch_size, augmenter, seed
        self.labels, self.ignore_id = labels, ignore_id
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Set the order and the augmentation for epoch `epoch` (0, 1, ...)."""
        self.epoch = epoch
        self._order = np.random.default_rng([self.seed, epoch]).permutation(self.count())

    def on_epoch_end(self) -> None:
        """Start the next epoch; Keras calls this."""
        self.start_epoch(self.epoch + 1)

    def count(self) -> int:
        """Return the number of images in an epoch."""
        return len(self.images)

    def take(self, chosen: npt.NDArray[np.intp], index: int) -> Taken:  # noqa: ARG002 - subclasses use it
        """Return the images `chosen` for batch `index`, before augmentation."""
        return np.asarray(self.images)[chosen], np.asarray(self.labels)[chosen]

    def __len__(self) -> int:
        return math.ceil(self.count() / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        chosen = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        images, labels = self.take(chosen, index)
        counted = np.ones(labels.shape, np.bool_)
        if self.augmenter:
            images, labels, counted = self.augmenter(
                images, labels, np.random.default_rng([self.seed, self.epoch, index])
            )
        if self.ignore_id is not None:
            counted &= labels != self.ignore_id
        return images, np.where(counted, labels, 0).astype(np.int32), counted.astype(np.float32)
