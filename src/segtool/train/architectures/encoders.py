"""The registry of encoders for `fcn8_lite`; the command line takes its choices from `ENCODERS`.

The layers of an encoder have names that begin with `PREFIX`, so that training and `--weights` find them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

PREFIX = "encoder_"
TORCH_SUFFIXES = (".pth", ".pt")
STRIDES = (4, 8, 16, 32)
"""Strides of the maps that an encoder returns."""

Scale = float | tuple[float, ...]
_IMAGENET: tuple[Scale, Scale] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

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
        The mean m and deviation d of a scaled image (x - m) / d for pixels x of 0..255: a number, or one for each of
        the channels R, G and B.
    suffixes
        Those of files with published weights.
    fetch
        Returns the file with the weights of a training on ImageNet, for RGB images.
    read
        Returns the weights in such a file.
    """

    summary: str
    maps: Callable[[Any], list[Any]]
    scaling: tuple[Scale, Scale]
    suffixes: tuple[str, ...]
    fetch: Callable[[], Path]
    read: Callable[[Path], Weights]


def _lite(size: str, summary: str) -> Encoder:
    def maps(x: Any) -> list[Any]:
        from segtool.train.architectures.efficientnet_lite import encoder

        return encoder(x, size)

    def fetch() -> Path:
        from segtool.train.architectures.efficientnet_lite import weight_file

        return weight_file(size)

    def read(path: Path) -> Weights:
        from segtool.train.architectures.efficientnet_lite import torch_weights

        return torch_weights(path, size)

    return Encoder(summary, maps, (127.0, 128.0), TORCH_SUFFIXES, fetch, read)


def _application(name: str, summary: str, scaling: tuple[Scale, Scale] = (127.5, 127.5)) -> Encoder:
    def maps(x: Any) -> list[Any]:
        from segtool.train.architectures.applications import encoder

        return encoder(x, name, prefix=PREFIX)

    def fetch() -> Path:
        from segtool.train.architectures.applications import weight_file

        return weight_file(name)

    def read(path: Path) -> Weights:
        from segtool.train.architectures.applications import file_weights

        return file_weights(path, name, prefix=PREFIX)

    return Encoder(summary, maps, scaling, (".h5",), fetch, read)


DEFAULT = "lite0"
ENCODERS: Mapping[str, Encoder] = {
    "lite0": _lite("lite0", "EfficientNet-Lite0, 3.0 million parameters"),
    "lite1": _lite("lite1", "EfficientNet-Lite1, 3.8 million parameters"),
    "lite2": _lite("lite2", "EfficientNet-Lite2, 4.4 million parameters"),
    "mobilenetv2": _application("mobilenetv2", "MobileNetV2, 1.8 million, weights from the network"),
    "mobilenetv3": _application("mobilenetv3", "MobileNetV3-Large, 2.8 million, likewise"),
    "mobilenetv3-small": _application("mobilenetv3-small", "0.9 million, likewise"),
    "efficientnetv2-b0": _application("efficientnetv2-b0", "EfficientNetV2-B0, 5.7 million, likewise", _IMAGENET),
}
