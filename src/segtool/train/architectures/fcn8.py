"""FCN-8, the network of the project's source.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation (CVPR 2015), with an encoder of
five small blocks. For 64 x 84 grey images and 11 classes it has 9,061,985 parameters; the encoder has 2,354,784 of
them.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from segtool.train.architectures.framed import framed, scaled

ENCODER_FILTERS = (32, 64, 128, 256, 256)
FULLY_CONNECTED_FILTERS = 512
STRIDE = 32  # size of the padded image divided by that of the deepest map


def build_fcn8(height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0) -> keras.Model:
    """Build FCN-8 for one image size.

    The image is padded with zeros at the bottom and on the right up to multiples of 32. The scores are cropped at the
    same sides, so pixel (y, x) of the output belongs to pixel (y, x) of the input.

    Parameters
    ----------
    height, width
        Size of the images in pixels, any positive size.
    channels
        1 (grey) or 3 (RGB).
    num_classes
        Number of classes K.
    multiplier
        Factor on the number of channels of each layer except the scores, above 0.

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
        name="fcn8",
        network=lambda x: _network(x, num_classes, multiplier),
    )


def _network(x: Any, num_classes: int, multiplier: float) -> Any:
    """Return the full-size scores of a padded image."""
    pool3, pool4, pool5 = _encoder(x, multiplier)[2:]
    x = _fully_connected(pool5, num_classes, multiplier)
    return _decoder(x, pool4, pool3, num_classes)


def _encoder(x: Any, multiplier: float) -> list[Any]:
    """Return the five pooled and normalized maps, the first at half the size of `x`."""
    pools = []
    for block, filters in enumerate(ENCODER_FILTERS, start=1):
        for index in (1, 2):
            x = layers.Conv2D(scaled(filters, multiplier), 3, padding="same", name=f"conv{block}_{index}")(x)
            x = layers.LeakyReLU(name=f"relu{block}_{index}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
        x = layers.BatchNormalization(name=f"norm{block}")(x)
        pools.append(x)
    return pools


def _fully_connected(x: Any, num_classes: int, multiplier: float) -> Any:
    """Return the class scores of the deepest map, through a 7x7 and a 1x1 convolution."""
    filters = scaled(FULLY_CONNECTED_FILTERS, multiplier)
    # float32, because on a 2 x 3 map most of the 7x7 taps see only padding, and TensorFlow's bfloat16 gradient on a
    # CPU leaves NaN in these taps. The map is tiny, so float32 costs no time.
    x = layers.Conv2D(filters, 7, padding="same", activation="relu", dtype="float32", name="conv6")(x)
    x = layers.Conv2D(filters, 1, activation="relu", name="conv7")(x)
    return layers.Conv2D(num_classes, 1, name="score7")(x)


def _decoder(x: Any, pool4: Any, pool3: Any, num_classes: int) -> Any:
    """Return full-size scores: upsample by 2, add pool 4, upsample by 2, add pool 3, upsample by 8."""
    # padding="same" on a 4x4/2 transposed convolution cuts one pixel on each side, so the size exactly doubles.
    up = {"padding": "same", "use_bias": False}
    x = layers.Conv2DTranspose(num_classes, 4, strides=2, **up, name="up4")(x)
    x = layers.Add(name="skip4")([x, layers.Conv2D(num_classes, 1, name="score4")(pool4)])
    x = layers.Conv2DTranspose(num_classes, 4, strides=2, **up, name="up3")(x)
    x = layers.Add(name="skip3")([x, layers.Conv2D(num_classes, 1, name="score3")(pool3)])
    return layers.Conv2DTranspose(num_classes, 8, strides=8, **up, name="up1")(x)
