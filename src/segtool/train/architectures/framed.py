"""The common frame of the architectures: raw pixels in, padding to a stride, crop, probabilities out; and the width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from segtool.train.architectures.encoders import Scale


def framed(
    size: tuple[int, int],
    channels: int,
    *,
    stride: int,
    name: str,
    network: Callable[[Any], Any],
    scaling: tuple[Scale, Scale] = (0.0, 255.0),
) -> keras.Model:
    """Build a model around a network that maps padded images to scores of the same size.

    The image is padded with zeros at the bottom and on the right up to multiples of `stride`. The scores are cropped at
    the same sides, so pixel (y, x) of the output belongs to pixel (y, x) of the input.

    Parameters
    ----------
    size
        (height, width) of the images in pixels, any positive size.
    channels
        1 (grey) or 3 (RGB).
    stride
        Size of the padded image divided by that of the deepest map.
    name
        Name of the model.
    network
        Maps scaled images, float (N, H, W, channels), to scores (N, H, W, K); H and W are multiples of `stride`.
    scaling
        The mean m and deviation d of the scaled images (x - m) / d for pixels x of 0..255; by default 0..1. Values for
        each of the channels R, G and B are averaged for grey images.

    Returns
    -------
    keras.Model
        Input ``image`` uint8 (N, height, width, channels), raw pixels 0..255; output float32
        (N, height, width, K), the probabilities of the classes.
    """
    bottom, right = -size[0] % stride, -size[1] % stride
    image = keras.Input((*size, channels), dtype="uint8", name="image")
    x = _scale(scaling, channels)(image)
    if bottom or right:
        x = layers.ZeroPadding2D(((0, bottom), (0, right)), name="pad")(x)
    x = network(x)
    if bottom or right:
        x = layers.Cropping2D(((0, bottom), (0, right)), name="crop")(x)
    # Always float32: the loss takes the logarithm of the probabilities.
    return keras.Model(image, layers.Softmax(dtype="float32", name="probabilities")(x), name=name)


def _scale(scaling: tuple[Scale, Scale], channels: int) -> layers.Rescaling:
    """Return the layer that scales pixels."""
    mean, deviation = (np.asarray(item) for item in scaling)
    if channels == 1:
        mean, deviation = mean.mean(), deviation.mean()
    return layers.Rescaling((1 / deviation).tolist(), ((0.0 - mean) / deviation).tolist(), name="scale")


def scaled(filters: int, multiplier: float) -> int:
    """Return a number of channels times a multiplier, rounded to a multiple of 8, which matrix units need."""
    if multiplier == 1:
        return filters
    return max(8, round(filters * multiplier / 8) * 8)
