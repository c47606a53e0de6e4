"""Batches made while the step before runs: TensorFlow on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from segtool.train.batches import Batch, TrainingBatches

AHEAD = 2
"""Batches that wait to be used; more would only take memory."""


def fed(batches: TrainingBatches) -> Any:
    """Return the batches as a `tf.data.Dataset`, one epoch each time it is gone through, from the current one on.

    Keras's own adapter begins to make a batch when the step before has ended.
    """
    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    dataset = tf.data.Dataset.from_generator(_Epochs(batches), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(AHEAD)


class _Epochs:
    """Yields the batches of the current epoch when it is first called, then those of the next, and so on."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches, self._begun = batches, False

    def __call__(self) -> Iterator[Batch]:
        if self._begun:
            self._batches.on_epoch_end()
        self._begun = True
        for index in range(len(self._batches)):
            yield self._batches[index]
