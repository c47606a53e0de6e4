"""What quantization-aware training and the exporter agree on: which layers become integers, with which scales.

The exporter quantizes values of its own graph, which was rewritten. So it is the exporter that names the places
(`segtool.export.int8.places`), by the layers of a Keras network whose outputs are the same numbers:

1. `segtool.train.folding` rebuilds the network with its normalizations folded, as the exporter's rewrites fold them.
2. The exporter converts and calibrates that network without equalization, and finds for each quantized value the
   layers with that output, and for each INT8 convolution its layer: by the sums, norms and extremes of the values on
   two images. They do not depend on the layout, on names, or on channels of zeros.
3. `fake_quantization` rounds the same outputs and kernels to the same integers, and the scales are trained.
4. The trained network is saved as it is without the rounding, and its scales beside it, by the names of layers.
5. `segtool export` finds the places again, takes these scales for them, and leaves equalization, the choice among
   ranges, and bias correction out. The gate "trained" compares the labels of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.errors import ModelFileError
from segtool.files import write_json

QUANTIZATION_NAME = "quantization.json"
LEVELS = 256


@dataclass(frozen=True)
class Activation:
    """A quantized value: x = scale * (q - zero_point), with q from 0 to 255.

    Attributes
    ----------
    layers
        The layers whose outputs have this scale.
    exact
        The layers that read these outputs before rounding.
    scale, zero_point
        Of the integers.
    """

    layers: tuple[str, ...]
    exact: tuple[str, ...]
    scale: float
    zero_point: int

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value that has an integer."""
        return -self.zero_point * self.scale, (LEVELS - 1 - self.zero_point) * self.scale

    @classmethod
    def of_range(cls, layers: tuple[str, ...], exact: tuple[str, ...], low: float, high: float) -> Activation:
        """Return the activation of a range that holds 0."""
        return cls(layers, exact, *scale_and_zero_point(low, high))


def scale_and_zero_point(low: float, high: float) -> tuple[float, int]:
    """Return the scale (a float32 number) and the zero point, 0 to 255, of a range that holds 0.

    Raises
    ------
    ValueError
        The range does not hold 0, or is not finite.
    """
    if not low <= 0 <= high or not np.isfinite([low, high]).all():
        raise ValueError(f"the range {low} to {high} does not hold 0")
    smallest = float(np.finfo(np.float32).tiny)
    scale = 1.0 if low == high else float(np.float32(max((high - low) / (LEVELS - 1), smallest)))
    return scale, int(np.clip(np.rint(-low / scale), 0, LEVELS - 1))


@dataclass(frozen=True)
class Quantization:
    """The integers of a network.

    Attributes
    ----------
    preset
        Name of the processor's preset that they are for.
    largest_weight
        Absolute value of the largest integer of a kernel; each output channel has its own scale.
    kernels
        The layers whose kernels are integers.
    activations
        The outputs that are integers.
    """

    preset: str
    largest_weight: int
    kernels: tuple[str, ...]
    activations: tuple[Activation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-serializable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Quantization:
        """Read what `to_dict` wrote."""
        activations = tuple(
            Activation(tuple(item["layers"]), tuple(item["exact"]), float(item["scale"]), int(item["zero_point"]))
            for item in values["activations"]
        )
        return cls(str(values["preset"]), int(values["largest_weight"]), tuple(values["kernels"]), activations)

    def write(self, folder: Path) -> None:
        """Write it into a run folder, atomically."""
        write_json(folder / QUANTIZATION_NAME, self.to_dict())


def read_quantization(folder: Path) -> Quantization | None:
    """Return the trained scales of a run folder; None if it has none.

    Raises
    ------
    ModelFileError
        The file is damaged.
    """
    path = folder / QUANTIZATION_NAME
    try:
        return Quantization.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"The trained scales in {path} cannot be read ({type(error).__name__}: {error}); train again with "
            "`segtool train --qat RUN`."
        ) from error
