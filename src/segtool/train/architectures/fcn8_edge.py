"""fcn8-edge: an FCN-8 descendant for small machines.

FCN-8 rebuilds each 8 x 8 block of pixels from one score a class, so it cannot draw an edge, and two thirds of its
weights see a 2 x 3 map. Here the skips enter as features at half size, beside an embedding of the image itself, and
one convolution draws the edges; the deepest map is an eighth of the image. What INT8 does well decides the rest:
strided convolutions in place of poolings, ReLU, which costs nothing behind an INT8 convolution, normalizations
directly behind convolutions, which leave no trace in the exported file, transposed convolutions whose kernel is their
stride, which are matrix products, and no layer of few channels at full size but the first.

That first layer is a tone curve: each intensity x as x, max(0, 1 - 4 x), max(0, 1 - 16 x) and max(0, 1 - 64 x), learned
from there. Faint and dark differ by a few of 255 steps, which a network that sees x alone tells apart late.

For 64 x 84 grey images and 11 classes it has 302,600 parameters and 58 million multiply-accumulates; fcn8 has 9,061,985
and 383 million.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from segtool.train.architectures.framed import framed, scaled

STRIDE = 8  # the deepest map is this many times smaller than the padded image
LEAST_CHANNELS = 16
DEEP_LAYERS = 3  # convolutions on the deepest map
REFINEMENT = (32,)  # channels of the convolution that draws the edges, at half size
TONES = (1.0, -4.0, -16.0, -64.0)  # slopes of the tone curve at the start; the falling ones begin at 1


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
        Of the number of channels of each layer, above 0; none has fewer than 16.

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
        # With 8 channels through which eleven classes must pass, it stayed with the background for 20 epochs.
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
    # No bias: the normalization in front of it has one, and an addition at full size is not free.
    return layers.Conv2DTranspose(num_classes, 2, strides=2, use_bias=False, name="scores")(x)


def _tones(x: Any, channels: int) -> Any:
    """Return the tone curve of each channel; in float32, as its slopes are steep."""
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
