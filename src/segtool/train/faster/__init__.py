"""The same mathematics in fewer passes over the memory, for TensorFlow on a CPU.

Half of a training step was not convolutions: Keras writes normalizations, optimizers and losses as many small
operations, each of which reads and writes whole maps. What stands here computes the same numbers, up to rounding; the
weights, their order and the saved model are Keras's own. On other backends, and on GPUs, which Keras compiles with XLA,
nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from segtool.train.batches import TrainingBatches
    from segtool.train.device import Device

_PIXELS_A_CALL, _STEPS_A_CALL = 1_000_000, 8


def can_be_faster(device: Device) -> bool:
    """Return whether a training on `device` has faster forms."""
    return keras.backend.backend() == "tensorflow" and device.processor == "cpu"


def faster_network(network: keras.Model, device: Device) -> keras.Model:
    """Return the network with layers that compute the same with less work; itself where there are none.

    The weights have the same values, shapes and order.
    """
    if not can_be_faster(device):
        return network
    from segtool.train.faster.layers import replaced

    copy = keras.models.clone_model(network, clone_function=replaced)
    copy.set_weights(network.get_weights())
    return copy


def faster_optimizer(optimizer: Any, device: Device) -> Any:
    """Return the optimizer, Adam and AdamW with an update in one pass over the memory."""
    if can_be_faster(device) and isinstance(optimizer, keras.optimizers.Adam) and not optimizer.amsgrad:
        from segtool.train.faster.update import update_step

        optimizer.update_step = update_step.__get__(optimizer)
    return optimizer


def faster_batches(batches: TrainingBatches, device: Device) -> Any:
    """Return what `keras.Model.fit` is to be given for these batches; they are made in advance."""
    if not can_be_faster(device):
        return batches
    from segtool.train.faster.feeding import fed

    return fed(batches)


def steps_a_call(pixels: int, device: Device) -> int:
    """Return how many steps Keras may take before it comes back to Python, given the pixels of a batch.

    Between two calls both processors wait for 1.4 ms. More than about a second a call would let nobody see, or stop,
    what goes on.
    """
    return max(1, min(_STEPS_A_CALL, _PIXELS_A_CALL // pixels)) if can_be_faster(device) else 1
