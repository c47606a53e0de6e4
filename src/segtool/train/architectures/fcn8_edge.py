"""fcn8-edge: a network derived from FCN-8 for small machines.

FCN-8 rebuilds each 8 x 8 block of pixels from one score per class, so it cannot draw sharp edges. Two thirds of its
weights see only a 2 x 3 map. fcn8-edge differs in three points:

- The skips enter as features at half size, together with an embedding of the image.
- One convolution at half size draws the edges.
- The deepest map is an eighth of the image.

The layers are those that INT8 runs fast:

- Strided convolutions replace poolings.
- ReLU is free after an INT8 convolution.
- Each normalization follows a convolution, so the export folds it into the weights.
- The kernel of each transposed convolution equals its stride, which makes it a matrix product.
- Only the first layer has few channels at full size.

The first layer is a tone curve. It starts as x, max(0, 1 - 4 x), max(0, 1 - 16 x) and max(0, 1 - 64 x) of each
intensity x, and is trained from there. Faint and dark pixels differ by a few of 255 steps. A network that sees only x
learns this difference late.

For 64 x 84 grey images and 11 classes it has 302,600 parameters and 58 million multiply-accumulates. fcn8 has 9,061,985
parameters and 383 million multiply-accumulates.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from segtool.train.architectures.framed import framed, scaled

STRIDE = 8  # size of the padded image divided by that of the deepest map
LEAST_CHANNELS = 16
DEEP_LAYERS = 3  # convolutions on the deepest map
REFINEMENT = (32,)  # channels of the convolution that draws the edges, at half size
TONES = (1.0, -4.0, -16.0, -64.0)  # initial slopes of the tone curve; negative ones have offset 1


def build_fcn8_edge(
    height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0
) -> keras.Model:
    """Build fcn8-edge for one image size.

    Parameters
    ----------
    height, width
        Size of the images in pixels, any positive size; padded with zeros at the bottom and on the right.
    channels
        1 (grey) or 3 (RGB).
    num_classes
        Number of classes K.
    multiplier
        Factor on the number of channels of each layer, above 0; no layer has fewer than 16.

    Returns
    -------
    keras.Model
        Input ``image`` uint8 (N, height, width, channels), raw pixels 0..255; output float32
        (N, height, width, K), the probabilities of the classes.
    """
    return framed(
        (height, width),
        channels,
        stride=STRIDE,
        name="fcn8_edge",
        network=lambda x: _network(x, channels, num_classes, multiplier),
    )


def _network(x: Any, channels: int, num_classes: int, multiplier: float) -> Any:
    """Return the full-size scores of a padded image."""

    def count(filters: int) -> int:
        # With a bottleneck of 8 channels for eleven classes, it predicted only background for 20 epochs.
        return max(min(filters, LEAST_CHANNELS), scaled(filters, multiplier))

    half = _convolution(_tones(x, channels), count(16), 4, 2, name="half")
    quarter = _convolution(half, count(48), 3, 2, name="quarter1")
    quarter = _convolution(quarter, count(64), 3, 1, name="quarter2")
    deep = _convolution(quarter, count(96), 3, 2, name="eighth1")
    for index in range(2, DEEP_LAYERS + 1):
        deep = _convolution(deep, count(96), 3, 1, name=f"eighth{index}")
    parts = [_upsampling(deep, count(16), 4, name="up8"), _upsampling(quarter, count(16), 2, name="up4"), half]
    x = layers.Concatenate(name="skips")(parts)
    for index, filters in enumerate(REFINEMENT, start=1):
        x = _convolution(x, count(filters), 3, 1, name=f"refine{index}")
    # No bias: the normalization before it has one, and an addition at full size costs time.
    return layers.Conv2DTranspose(num_classes, 2, strides=2, use_bias=False, name="scores")(x)


def _tones(x: Any, channels: int) -> Any:
    """Return the tone curve of each channel; float32 because its slopes are steep."""
    layer = layers.Conv2D(len(TONES) * channels, 1, activation="relu", dtype="float32", name="tones")
    y = layer(x)
    slopes = np.kron(np.eye(channels, dtype=np.float32), np.array(TONES, np.float32))
    offsets = np.tile(np.array([float(slope < 0) for slope in TONES], np.float32), channels)
    layer.set_weights([slopes.reshape(1, 1, channels, -1), offsets])
    return y


def _convolution(x: Any, filters: int, kernel: int, stride: int, *, name: str) -> Any:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, name)


def _upsampling(x: Any, filters: int, factor: int, *, name: str) -> Any:
    x = layers.Conv2DTranspose(filters, factor, strides=factor, use_bias=False, name=name)(x)
    return _normalized(x, name)


def _normalized(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(momentum=0.98, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
