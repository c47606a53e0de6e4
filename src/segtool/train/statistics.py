"""The means and variances of batch normalizations, estimated anew for the weights that are scored.

During training they are moving averages. With few steps an epoch these lag behind the weights, and a score then
measures the lag. An average over forward steps with the weights as they are has no lag: Izmailov et al.: Averaging
Weights Leads to Wider Optima (UAI 2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras

from segtool.array_types import UInt8Array

FEW_STEPS = 200
"""With fewer steps an epoch the moving averages lag: they cover about the last 50 steps."""

ESTIMATION_IMAGES = 128
"""Images that the estimate is made of, at least; twice as many changed the score by less than 0.1 point."""


def reestimate(model: keras.Model, batches: Iterable[UInt8Array]) -> None:
    """Replace the means and variances of the trainable batch normalizations by averages over `batches`.

    Parameters
    ----------
    model
        The network; its other weights stay.
    batches
        Images uint8 (n, H, W, C) as in training.
    """
    layers = [item for item in model.layers if isinstance(item, keras.layers.BatchNormalization) and item.trainable]
    if not layers:
        return
    averages = [average for layer in layers for average in (layer.moving_mean, layer.moving_variance)]
    for average in averages:
        average.assign(keras.ops.zeros(average.shape))
    steps = 0
    for images in batches:
        model(images, training=True)
        steps += 1
    # An average that begins at 0 and moves by (1 - m) a step is too small by the factor 1 - m^steps.
    for layer in layers:
        factor = 1.0 / (1.0 - layer.momentum**steps)
        for average in (layer.moving_mean, layer.moving_variance):
            average.assign(average * factor)
