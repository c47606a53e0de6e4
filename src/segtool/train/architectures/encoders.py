"""The registry of encoders for `fcn8_lite`; the command line takes its choices from `ENCODERS`.

The layers of an encoder have names that begin with `PREFIX`, so that training and `--weights` find them.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from segtool.errors import TrainingError

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
    name
        Its name here and in its module.
    summary
        One line for users.
    module
        The module beside this file that has it, with the functions `encoder`, `weight_file` and `file_weights`. It is
        imported, and with it Keras, when one of them is called.
    scaling
        The mean m and deviation d of a scaled image (x - m) / d for pixels x of 0..255: a number, or one for each of
        the channels R, G and B.
    suffixes
        Those of files with published weights.
    """

    name: str
    summary: str
    module: str = "applications"
    scaling: tuple[Scale, Scale] = (127.5, 127.5)
    suffixes: tuple[str, ...] = (".h5",)

    def maps(self, x: Any) -> list[Any]:
        """Return the maps at `STRIDES` of a scaled image, a Keras tensor (N, H, W, C)."""
        maps: list[Any] = self._module().encoder(x, self.name)
        return maps

    def fetch(self) -> Path:
        """Return the file with the weights of a training on ImageNet, for RGB images."""
        path: Path = self._module().weight_file(self.name)
        return path

    def read(self, path: Path) -> Weights:
        """Return the weights in such a file."""
        weights: Weights = self._module().file_weights(path, self.name)
        return weights

    def _module(self) -> Any:
        return importlib.import_module(f"{__package__}.{self.module}")


def _lite(size: str, summary: str) -> Encoder:
    return Encoder(size, summary, "efficientnet_lite", (127.0, 128.0), TORCH_SUFFIXES)


DEFAULT = "lite0"
_ALL = (
    _lite("lite0", "EfficientNet-Lite0, 3.0 million parameters"),
    _lite("lite1", "EfficientNet-Lite1, 3.8 million parameters"),
    _lite("lite2", "EfficientNet-Lite2, 4.4 million parameters"),
    Encoder("mobilenetv2", "MobileNetV2, 1.8 million, weights from the network"),
    Encoder("mobilenetv3", "MobileNetV3-Large, 2.8 million, likewise"),
    Encoder("mobilenetv3-small", "0.9 million, likewise"),
    Encoder("efficientnetv2-b0", "EfficientNetV2-B0, 5.7 million, likewise", scaling=_IMAGENET),
)
ENCODERS: Mapping[str, Encoder] = {encoder.name: encoder for encoder in _ALL}


def refuse_changed(path: Path, *, name: str, digest: str | None, algorithm: str, remedy: str) -> None:
    """Refuse a file under a published name whose content is not the published one.

    Parameters
    ----------
    path
        The file; one with another name may have any content.
    name
        The published name.
    digest
        The published digest, hexadecimal; None if there is none.
    algorithm
        The algorithm of the digest, a name of `hashlib`.
    remedy
        What brings the published file again.

    Raises
    ------
    TrainingError
        The digests differ.
    """
    if path.name != name or digest is None or not path.is_file():
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != digest:
        raise TrainingError(
            f"The weights in {path} are damaged: found {algorithm.upper()} {found}, expected {digest}; "
            f"{remedy}, or train without it (--weights none). If the change is intended, give the file another name."
        )
