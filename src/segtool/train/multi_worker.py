"""Data-parallel training with TensorFlow: several GPUs of a machine, or several machines.

Keras 3's own `fit` does not run under `MultiWorkerMirroredStrategy`, so this module holds the loop. Each replica runs
the model's own training step on its part of the batch. The gradients are summed over all replicas, and every replica
applies the same update.

Each replica normalizes by the statistics of its own part of the batch, as in other data-parallel training. The moving
averages are averaged over the replicas at the end of each epoch. They are linear in the batch statistics, so the result
equals an average after every step.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import keras
import numpy as np

from segtool.errors import ProviderError, TrainingError, first_line
from segtool.train.batches import TrainingBatches
from segtool.train.device import Device

logger = logging.getLogger(__name__)


@cache
def strategy_of(device: Device) -> Any:
    """Return the tf.distribute strategy for a device; None for a single one, and on other backends than TensorFlow.

    Raises
    ------
    ProviderError
        The other workers are not reachable.
    """
    if keras.backend.backend() != "tensorflow" or (device.count == 1 and device.cluster.workers == 1):
        return None
    import tensorflow as tf

    if device.cluster.workers == 1:
        return tf.distribute.MirroredStrategy([f"{device.processor}:{index}" for index in range(device.count)])
    logger.warning(
        "Worker %d of %d: waiting for the other workers to connect.", device.cluster.rank + 1, device.cluster.workers
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise ProviderError(
            f"The {device.cluster.workers} workers of TF_CONFIG could not connect to each other "
            f"({first_line(error)}); start all of them, with addresses that every worker can reach."
        ) from error


@contextmanager
def strategy_scope(device: Device) -> Iterator[None]:
    """Build and compile a model in this context; on TensorFlow each GPU and machine then holds a copy of it."""
    strategy = strategy_of(device)
    with strategy.scope() if strategy else nullcontext():
        yield


class ReplicaTrainer:
    """Trains the replicas of a model together.

    Parameters
    ----------
    strategy
        The result of `strategy_of`.
    model
        The model, built and compiled in the strategy's scope.
    """

    def __init__(self, strategy: Any, model: keras.Model) -> None:
        import tensorflow as tf

        self._tf, self._strategy, self._model = tf, strategy, model
        self._replicas = strategy.num_replicas_in_sync
        self._sum = tf.function(partial(self._all_reduced, of_chief=False))
        self._of_chief = tf.function(partial(self._all_reduced, of_chief=True))
        self._sum_of_statistics = tf.function(lambda: self._all_reduced(self._statistics(), of_chief=False))
        self._step: Callable[..., Any] = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)))
        # Clone the layers only: the clone of a compiled model is compiled too.
        local = keras.models.clone_model(keras.Model(model.inputs, model.outputs))

        def predict_on_batch(images: Any) -> Any:
            local.set_weights(model.get_weights())
            return local.predict_on_batch(images)

        # Keras collects predictions from all workers, but only the chief predicts.
        model.predict_on_batch = predict_on_batch

    def agree(self, description: Mapping[str, Any]) -> None:
        """Refuse workers that were started with different options, data or precision.

        Raises
        ------
        TrainingError
            They differ. All workers raise the error.
        """
        digest = hashlib.sha256(json.dumps(dict(description), sort_keys=True, default=str).encode()).digest()
        mine = np.frombuffer(digest[:6], np.uint8).astype(np.float64)
        with self._lost_workers():
            total = self._run(self._sum, [mine, mine**2])
        if not np.array_equal(total[0] ** 2, total[1] * self._replicas):  # true only if all values are equal
            raise TrainingError(
                "The workers were started with different options, data or precision; run the same command on each "
                "worker, with data of the same content."
            )

    def start_from_chief(self, epoch: int) -> int:
        """Copy the chief's weights and optimizer to all replicas; return the chief's epoch."""
        with self._lost_workers():
            variables = self._variables()
            values = self._run(self._tf.function(lambda: self._all_reduced(variables, of_chief=True)))
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value.astype(variable.dtype))
            return int(self._run(self._of_chief, [np.float64(epoch)])[0])

    def fit(
        self, batches: TrainingBatches, *, epochs: int, first: int, callback: keras.callbacks.Callback | None
    ) -> None:
        """Train the epochs `first` to `epochs` - 1 (0-based).

        Parameters
        ----------
        batches
            The same on every worker; each replica takes its part of every batch.
        epochs, first
            The same as `epochs` and `initial_epoch` of `keras.Model.fit`.
        callback
            Receives the steps and epochs; only the chief has one.

        Raises
        ------
        TrainingError
            The connection to another worker was lost.
        """
        if callback:
            callback.set_model(self._model)
        self._model.stop_training = False
        with self._lost_workers():
            for epoch in range(first, epochs):
                logs = self._epoch(batches, epoch, callback)
                self._average_statistics()
                if callback:
                    callback.on_epoch_end(epoch, logs)
                if self._run(self._of_chief, [np.float64(self._model.stop_training)])[0]:
                    break
                batches.on_epoch_end()

    def _epoch(self, batches: TrainingBatches, epoch: int, callback: Any) -> dict[str, float]:
        self._model.reset_metrics()
        if callback:
            callback.on_epoch_begin(epoch)
        logs: dict[str, float] = {}
        for index in range(len(batches)):
            self._step(self._split(batches[index]))
            # Reading a metric sums it over the workers, so every worker must read it.
            logs = {name: float(np.asarray(value)) for name, value in self._model.get_metrics_result().items()}
            if callback:
                callback.on_train_batch_end(index, logs)
        return logs

    def _split(self, batch: Any) -> Any:
        def part_of(context: Any) -> Any:
            rows = share(len(batch[0]), context.replica_id_in_sync_group, self._replicas)
            return tuple(self._tf.constant(part[rows]) for part in batch)

        return self._strategy.experimental_distribute_values_from_function(part_of)

    def _average_statistics(self) -> None:
        for variable, total in zip(self._statistics(), self._run(self._sum_of_statistics), strict=True):
            variable.assign((total / self._replicas).astype(variable.dtype))

    def _statistics(self) -> list[Any]:
        return [item for item in self._model.non_trainable_variables if item.dtype.startswith("float")]

    def _variables(self) -> list[Any]:
        if not self._model.optimizer.built:
            with self._strategy.scope():
                self._model.optimizer.build(self._model.trainable_variables)
        return [*self._model.variables, *self._model.optimizer.variables]

    def _all_reduced(self, values: list[Any], *, of_chief: bool) -> Any:
        """Return, in a replica, the sums of values over all replicas, or the values of the first replica; float64."""
        tf = self._tf
        context = tf.distribute.get_replica_context()
        counts = tf.logical_or(not of_chief, tf.equal(context.replica_id_in_sync_group, 0))
        numbers = [tf.cast(tf.convert_to_tensor(value), tf.float64) for value in values]
        # Select instead of multiplying by 0: the values of another worker may be NaN.
        return context.all_reduce("sum", [tf.where(counts, item, tf.zeros_like(item)) for item in numbers])

    def _run(self, function: Any, *arguments: Any) -> list[Any]:
        """Call a function in all replicas; return the results of this worker's first replica as arrays."""
        tensors = self._tf.nest.map_structure(self._tf.constant, arguments)
        results = self._strategy.run(function, args=tensors)
        return [np.asarray(self._strategy.experimental_local_results(result)[0]) for result in results]

    @contextmanager
    def _lost_workers(self) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            raise TrainingError(
                f"The training of {self._replicas} replicas stopped ({str(error.message).splitlines()[0]}); the "
                "connection to a worker was probably lost: start all workers again with --resume."
            ) from error


def share(count: int, replica: int, replicas: int) -> Any:
    """Return the indices of the images of a batch of `count` that a replica takes.

    Each replica takes at least one image, so a small batch gives some images to two replicas.
    """
    return np.arange(replica, max(count, replica + 1), replicas) % count
