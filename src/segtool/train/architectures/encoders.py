"""The registry of encoders for `fcn8_lite`; the command line takes its choices from `ENCODERS`.

The layers of an encoder have names that begin with `PREFIX`, so that training and `--weights` find them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy.typing as npt

PREFIX = "encoder_"
STRIDES = (4, 8, 16, 32)
"""Strides of the maps that an encoder returns."""

Weights = Mapping[str, list[npt.NDArray[Any]]]
"""Name of a layer -> its weights, in the order of Keras."""


@dataclass(frozen=True)
class Encoder:
    """The part of a network that turns an image into maps of features.

    Attributes
    ----------
    summary
        One line for users.
    maps
        Keras tensor (N, H, W, C), a scaled image -> its maps at `STRIDES`; imports Keras when it is called.
    scaling
        The mean m and deviation d of a scaled image (x - m) / d for pixels x of 0..255.
    imagenet
        Returns the weights of a training on ImageNet, for RGB images.
    """

    summary: str
    maps: Callable[[Any], list[Any]]
    scaling: tuple[float, float]
    imagenet: Callable[[], Weights]


def _lite_maps(size: str, x: Any) -> list[Any]:
    from segtool.train.architectures.efficientnet_lite import encoder

    return encoder(x, size)


def _lite_weights(size: str) -> Weights:
    from segtool.train.architectures.efficientnet_lite import torch_weights, weight_file

    return torch_weights(weight_file(size), size)


def _lite(size: str, summary: str) -> Encoder:
    return Encoder(summary, partial(_lite_maps, size), (127.0, 128.0), partial(_lite_weights, size))


DEFAULT = "lite0"
ENCODERS: Mapping[str, Encoder] = {
    "lite0": _lite("lite0", "EfficientNet-Lite0, 3.0 million parameters"),
    "lite1": _lite("lite1", "EfficientNet-Lite1, 3.8 million parameters"),
    "lite2": _lite("lite2", "EfficientNet-Lite2, 4.4 million parameters"),
}
