"""Coarse scores beside those of the network, whose loss reaches the middle layers directly; for training only.

Zhao, Shi, Qi, Wang, Jia: Pyramid Scene Parsing Network (CVPR 2017), section 3.3. The layers of the coarse scores are
not part of the trained network: their names begin with `PREFIX`.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

PREFIX = "auxiliary_"
CHANNELS = 64


class SupervisedModel(keras.Model):  # type: ignore[misc]  # keras carries no types
    """A network with coarse scores as a second output, of which both have a loss; metrics are of the first."""

    def weigh(self, share: float, stride: int) -> None:
        """Set the factor on the loss of the coarse scores, and their stride; call it before `compile`."""
        sizes = zip(self.inputs[0].shape[1:3], self.outputs[1].shape[1:3], strict=True)
        # The centres of the coarse pixels; those in the padding of the input do not count.
        centres = [(np.arange(count) * stride + stride // 2, length) for length, count in sizes]
        self._places = [np.minimum(places, length - 1) for places, length in centres]
        self._inside = [places < length for places, length in centres]
        self._share = share

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the loss of both outputs for labels (N, H, W), a scalar."""
        fine, coarse = y_pred
        weights = ops.ones_like(y, "float32") if sample_weight is None else sample_weight
        known = np.outer(*self._inside).astype(np.float32)
        own = super().compute_loss(x, y, fine, sample_weight, training=training)
        other = super().compute_loss(x, self._coarse(y), coarse, self._coarse(weights) * known, training=training)
        return own + self._share * other

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the metrics of the first output."""
        return super().compute_metrics(x, y, y_pred[0], sample_weight)

    def _coarse(self, values: Any) -> Any:
        """Return the values (N, H, W) at the centres of the coarse pixels."""
        for axis, places in enumerate(self._places, start=1):
            values = ops.take(values, places, axis=axis)
        return values


def with_auxiliary(network: keras.Model, layer: str, *, stride: int, share: float) -> keras.Model:
    """Return an uncompiled model that trains the network with coarse scores.

    Parameters
    ----------
    network
        Maps images (N, H, W, C) to probabilities (N, H, W, K).
    layer
        Name of the layer whose output gets coarse scores.
    stride
        Size of the padded image divided by that of this output.
    share
        Factor on their loss.
    """
    x = layers.Conv2D(CHANNELS, 3, padding="same", use_bias=False, name=f"{PREFIX}conv")(
        network.get_layer(layer).output
    )
    x = layers.BatchNormalization(name=f"{PREFIX}norm")(x)
    x = layers.ReLU(name=f"{PREFIX}relu")(x)
    x = layers.Conv2D(network.outputs[0].shape[-1], 1, name=f"{PREFIX}scores")(x)
    x = layers.Softmax(dtype="float32", name=f"{PREFIX}probabilities")(x)
    model = SupervisedModel(network.inputs[0], [network.outputs[0], x], name=network.name)
    model.weigh(share, stride)
    return model


def network_weights(model: keras.Model) -> list[Any]:
    """Return the weights of the network within a model, in the order of its `get_weights`."""
    kept = [layer for layer in model.layers if not layer.name.startswith(PREFIX)]
    return [weight for layer in kept for weight in layer.get_weights()]
