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
    """Return a `tf.data.Dataset` that has the batches of whatever epoch is current when one begins to go through it.

    Keras's own adapter begins to make a batch when the step before has ended.
    """
    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batches[0])
    dataset = tf.data.Dataset.from_generator(lambda: _each(batches), output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).prefetch(AHEAD)


def _each(batches: TrainingBatches) -> Iterator[Batch]:
    for index in range(len(batches)):
        yield batches[index]
