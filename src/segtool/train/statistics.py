"""The means and variances of batch normalizations, estimated anew for the weights that are scored.

During training they are moving averages. With few steps an epoch these lag behind the weights, and a score then
measures the lag. An average over forward steps with the weights as they are has no lag: Izmailov et al.: Averaging
Weights Leads to Wider Optima (UAI 2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import keras

from segtool.array_types import UInt8Array

FEW_STEPS = 200
"""With fewer steps an epoch the moving averages lag: they cover about the last 50 steps."""

ESTIMATION_IMAGES = 128
"""Images that the estimate is made of, at least; twice as many changed the score by less than 0.1 point."""


class Reestimation:
    """Replaces the means and variances of the trainable batch normalizations of a network by averages over batches.

    Parameters
    ----------
    model
        The network; its other weights stay.
    """

    def __init__(self, model: keras.Model) -> None:
        norms = [item for item in model.layers if isinstance(item, keras.layers.BatchNormalization)]
        self._layers = [item for item in norms if item.trainable]
        self._forward = _forward(model)

    def __call__(self, batches: Iterable[UInt8Array]) -> None:
        """Estimate from images uint8 (n, H, W, C) as in training."""
        if not self._layers:
            return
        averages = [average for layer in self._layers for average in (layer.moving_mean, layer.moving_variance)]
        for average in averages:
            average.assign(keras.ops.zeros(average.shape))
        steps = 0
        for images in batches:
            self._forward(images)
            steps += 1
        # An average that begins at 0 and moves by (1 - m) a step is too small by the factor 1 - m^steps.
        for layer in self._layers:
            factor = 1.0 / (1.0 - layer.momentum**steps)
            for average in (layer.moving_mean, layer.moving_variance):
                average.assign(average * factor)


def _forward(model: keras.Model) -> Callable[[UInt8Array], None]:
    """Return a forward step as in training; on TensorFlow a graph in place of single layers."""

    def step(images: UInt8Array) -> None:
        model(images, training=True)

    if keras.backend.backend() != "tensorflow":
        return step
    import tensorflow as tf

    return cast("Callable[[UInt8Array], None]", tf.function(step, autograph=False))
