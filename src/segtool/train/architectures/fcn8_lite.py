"""fcn8-lite: an FCN-8 decoder on a light encoder that was trained on ImageNet, for photographs.

The decoder follows FCN-8: it upsamples the deepest map by 2 and adds the map of the next stride, down to stride 4,
where the scores are made. It differs where INT8 on a small machine gains from it:

- The deepest map is reduced to 128 channels and sees 5 x 5 of its pixels, 160 x 160 of the image, before the decoder.
- Features are added rather than scores: sums of two maps cost one pass over them.
- Mixing is done by separable convolutions; channels are multiples of 16.
- The map at stride 4 has few channels, because there are many pixels.
- The scores are made at stride 4 and upsampled bilinearly by 4. The export decides the labels of most pixels on the
  small map (`segtool.export.passes.labels_per_cell`). A transposed convolution, whose 4 x 4 taps are learned apart,
  begins worse, ends at the same accuracy, and gives labels that flicker along borders (`benchmarks/photos.py`).

With the encoder lite0 and 11 classes it has 3.1 million parameters.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from segtool.train.architectures.encoders import ENCODERS
from segtool.train.architectures.framed import framed

STRIDE = 32  # size of the padded image divided by that of the deepest map
MULTIPLE = 16  # of the numbers of channels: the fast INT8 kernels need it
MOMENTUM = 0.98  # of the averages of the normalizations


def build_fcn8_lite(
    height: int, width: int, channels: int, num_classes: int, *, multiplier: float = 1.0, encoder: str = "lite0"
) -> keras.Model:
    """Build fcn8-lite for one image size, with random weights.

    Parameters
    ----------
    height, width
        Size of the images in pixels, any positive size; padded at the bottom and on the right.
    channels
        1 (grey) or 3 (RGB).
    num_classes
        Number of classes K.
    multiplier
        Factor on the number of channels of the decoder's layers, above 0; no layer has fewer than 16.
    encoder
        Name from `encoders.ENCODERS`.

    Returns
    -------
    keras.Model
        Input ``image`` uint8 (N, height, width, channels), raw pixels 0..255; output float32
        (N, height, width, K), the probabilities of the classes.
    """
    chosen = ENCODERS[encoder]
    return framed(
        (height, width),
        channels,
        stride=STRIDE,
        name="fcn8_lite",
        scaling=chosen.scaling,
        network=lambda x: _decoder(chosen.maps(x), num_classes, multiplier),
    )


def _decoder(maps: list[Any], num_classes: int, multiplier: float) -> Any:
    """Return the full-size scores from the maps at strides 4, 8, 16 and 32."""

    def count(filters: int) -> int:
        return max(MULTIPLE, round(filters * multiplier / MULTIPLE) * MULTIPLE)

    quarter, eighth, sixteenth, deepest = maps
    x = _convolution(deepest, count(128), 1, name="context_reduce")
    x = _separable(x, count(96), 5, name="context")
    x = _skip(x, sixteenth, count(96), name="skip16")
    x = _separable(x, count(64), 3, name="mix16")
    x = _skip(x, eighth, count(64), name="skip8")
    x = _separable(x, count(64), 3, name="mix8")
    x = _convolution(x, count(48), 1, name="reduce8")
    parts = [_doubled(x, name="skip4_up"), _convolution(quarter, count(16), 1, name="skip4_lateral")]
    x = layers.Concatenate(name="skip4")(parts)
    x = _convolution(x, count(48), 3, name="refine4")
    return scores(x, num_classes)


def scores(x: Any, num_classes: int) -> Any:
    """Return the scores (N, 4 h, 4 w, K) of a map (N, h, w, C)."""
    x = layers.Conv2D(num_classes, 1, name="scores")(x)
    return layers.UpSampling2D(4, interpolation="bilinear", name="upscaled")(x)


def _skip(x: Any, skipped: Any, filters: int, *, name: str) -> Any:
    """Return the map at twice the size, plus the encoder's map reduced to as many channels."""
    lateral = _convolution(skipped, filters, 1, name=f"{name}_lateral")
    return layers.Add(name=name)([_doubled(x, name=f"{name}_up"), lateral])


def _doubled(x: Any, *, name: str) -> Any:
    return layers.UpSampling2D(2, interpolation="nearest", name=name)(x)


def _separable(x: Any, filters: int, kernel: int, *, name: str) -> Any:
    x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    return _convolution(x, filters, 1, name=name)


def _convolution(x: Any, filters: int, kernel: int, *, name: str) -> Any:
    x = layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
