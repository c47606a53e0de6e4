"""What an engine is, and what all of them are given: the trained network and the same images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Predict = Callable[[Images], npt.NDArray[Any]]
"""Raw pixels uint8 (N, H, W, C) to integer class ids (N, H, W); only onnxruntime's files take N above 1."""


@dataclass(frozen=True)
class Scaling:
    """How a network of PyTorch takes pixels: `(raw - mean) / std` in float32, channels first.

    Attributes
    ----------
    mean, std
        Of each channel, in units of 0..255.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, images: Images) -> npt.NDArray[np.float32]:
        """Return the input of the network, (N, C, H, W), as a user of numpy computes it."""
        scaled = (images - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Sources:
    """What a conversion starts from.

    Attributes
    ----------
    keras_file
        The trained network, where it is one of Keras.
    images_file
        .npz of `calibration`, uint8 (n, H, W, C), and `validation` and its `truth`, uint8 (m, H, W).
    stock_file
        The plain ONNX conversion, from which others go on.
    scaling
        What has to be done to the pixels; None for a network that takes them raw, channels last.
    transformer
        Whether it is one, which NNCF asks for.
    """

    keras_file: Path
    images_file: Path
    stock_file: Path
    scaling: Scaling | None = None
    transformer: bool = False

    def array(self, name: str) -> Images:
        """Return one of the arrays of `images_file`."""
        with np.load(self.images_file) as arrays:
            array: Images = arrays[name]
        return array

    def network(self) -> Any:
        """Return the trained network, a keras.Model."""
        from segtool.models.keras_file import load_keras_file

        return load_keras_file(self.keras_file)


@dataclass(frozen=True)
class Engine:
    """One way to run the trained network.

    Attributes
    ----------
    key, title
        Short and readable name.
    precision
        "float32", "int8", or "its own choice": OpenVINO takes bfloat16 where the processor multiplies it.
    how
        One sentence: how pixels go in and how class ids come out.
    path
        The model file; of OpenVINO the .xml, beside which the .bin lies.
    open
        Called with the path and the number of threads.
    """

    key: str
    title: str
    precision: str
    how: str
    path: Path
    open: Callable[[Path, int], Predict]

    def size_bytes(self) -> int:
        """Return the size of the file, with the weights beside it where there are any."""
        weights = self.path.with_suffix(".bin")
        return self.path.stat().st_size + (weights.stat().st_size if weights.is_file() else 0)
