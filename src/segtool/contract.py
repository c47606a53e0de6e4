"""The contract of a model file: its input, its output, and the results of its gates.

The contract is stored inside the ONNX file, as JSON in ``metadata_props["segtool"]``, together with a golden pair
(``metadata_props["segtool.golden"]``): a few images and the labels of the exported model for them. A device uses the
pair to verify the file offline. Code that runs a model reads only this.
"""

from __future__ import annotations

import base64
import colorsys
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segtool.contract_check import Head, SizePolicy, check_fields, read_json
from segtool.errors import ContractError

CONTRACT_VERSION = 1
METADATA_KEY = "segtool"
GOLDEN_KEY = "segtool.golden"
_MAX_GOLDEN_BYTES = 2**30  # limit for the images of one pair

PIXEL_RULES = {
    "orientation": "as the EXIF tag says",
    "transparency": "composited over black",
    "16-bit grey": "value / 257, rounded",
    "16-bit colour": "the upper 8 bits",
    "colour to grey": "luma of ITU-R BT.601",
}
"""How the pixels of a file become the 8-bit input; in the contract for programs that run the model without segtool."""

_COLORS = (
    (0, 105, 255), (255, 225, 0), (240, 0, 15), (0, 240, 255), (235, 135, 160), (0, 160, 90), (210, 255, 160),
    (160, 0, 135), (255, 105, 0), (60, 30, 255), (210, 135, 255), (135, 105, 135), (180, 30, 60), (0, 120, 90),
    (90, 210, 120), (120, 120, 180), (180, 240, 210), (210, 30, 120), (240, 180, 210), (240, 180, 30),
)  # fmt: skip

ColorOrder = Literal["gray", "rgb"]


@dataclass(frozen=True)
class ModelContract:
    """The input, output and measured results of one model file.

    Attributes
    ----------
    height, width, channels
        Size of the input image in pixels; 1 channel (grey) or 3 (RGB).
    class_names
        Name of class id 0, 1, ...; its length is the number of classes.
    palette
        One (red, green, blue) per class, 0..255.
    background_id
        The class that foreground means exclude; None for none.
    ignore_id
        The label value that training and metrics ignore; None for none.
    head
        "labels": output ``labels`` (N, H, W), uint8 (uint16 above 256 classes);
        "logits" / "probabilities": output of that name, float32 (N, H, W, K).
    size_policy
        How to process an image larger than the input. "resize": bilinear; labels and probabilities are resized back
        by nearest neighbour, so that the labels are the arg-max of the probabilities; smaller images are resized too.
        "tile": overlapping tiles, merged on the scores if the head gives them; a smaller side is padded with its
        border pixels.
    precision
        "float32" or "int8".
    quantization
        Preset and calibration of an INT8 file (preset, method, images, fingerprint); empty for float32.
    convolutions
        How an FP32 file computes its 3x3 convolutions ("algorithm": "winograd" or "direct"), and the processor on
        which they were timed; empty without a choice.
    data_fingerprint
        SHA-256 over the training data set; empty if unknown.
    split
        How the training split this data set: "seed", "val_split", "test_split"; empty if unknown. With the
        fingerprint, an evaluation on the same data excludes the training images.
    network
        What the network inside the file takes and gives, if it differs from segtool's own: "input_scale" (name, mean,
        std, order, and how it was found), "layout", "output", "output_size", "threshold", "ends_in"; empty otherwise.
        All of it is in the graph already.
    metrics
        Measured figures, by name ("float32", "int8"), each with its convention and data.
    gates
        The figures of the export's gates, by name ("parity", "accuracy", "speed"; for speed the verdict, no times).
    versions
        Versions of segtool and of the libraries that created the file.
    trained_size
        (height, width) of the training, if the file was rebuilt for another size (`segtool export --size`): metrics
        and gates are at the size of the file. None if both sizes are equal.
    arguments
        The arguments of `segtool export` as given, so that the export can be repeated; without the options that do
        not change the file (-v, -q, --debug, --json). Empty if the file was created from Python.
    """

    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    background_id: int | None = None
    ignore_id: int | None = None
    head: Head = "labels"
    size_policy: SizePolicy = "resize"
    precision: str = "float32"
    quantization: Mapping[str, Any] = field(default_factory=dict)
    convolutions: Mapping[str, Any] = field(default_factory=dict)
    data_fingerprint: str = ""
    split: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    trained_size: tuple[int, int] | None = None
    arguments: tuple[str, ...] = ()
    version: int = CONTRACT_VERSION

    def __post_init__(self) -> None:
        try:
            check_fields(vars(self))
        except (ValueError, TypeError) as error:
            raise ContractError(f"A segtool contract is not usable: {error}.") from error

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.height, self.width

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def color_order(self) -> ColorOrder:
        """Order of the input's channels."""
        return "gray" if self.channels == 1 else "rgb"

    @property
    def label_dtype(self) -> np.dtype[Any]:
        """Dtype of the label maps: uint8, or uint16 above 256 classes."""
        return np.dtype(np.uint8 if self.num_classes <= 256 else np.uint16)

    def to_json(self) -> str:
        """Return the contract as JSON, as it is stored in the file."""
        derived = {"color_order": self.color_order, "scaling": "in the graph", "pixels": PIXEL_RULES}
        return json.dumps({**asdict(self), **derived}, sort_keys=True)

    @classmethod
    def of_file(cls, source: str, **values: Any) -> ModelContract:
        """Create the contract of a file; errors name the file.

        Raises
        ------
        ContractError
            A value has the wrong type, is out of range or contradicts another.
        """
        try:
            return cls(**values)
        except ContractError as error:
            raise ContractError(
                f"The segtool contract of {source} is not usable: {error.__cause__}; export the model again."
            ) from error

    @classmethod
    def from_json(cls, text: str, *, source: str = "the model") -> ModelContract:
        """Read a contract; unknown fields are ignored. `source` is the name of the file in errors.

        Raises
        ------
        ContractError
            The text is not a contract, or has a newer version.
        """
        try:
            raw = read_json(text)
            version = _version(raw["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(
                f"The segtool contract of {source} cannot be read ({_reason(error)}); export the model again."
            ) from error
        if version > CONTRACT_VERSION:
            raise ContractError(
                f"The segtool contract of {source} has version {version}, but this segtool reads up to "
                f"{CONTRACT_VERSION}; upgrade segtool."
            )
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        try:
            values["class_names"] = _tuple(values["class_names"])
            values["palette"] = tuple(_tuple(color) for color in _tuple(values["palette"]))
            values["trained_size"] = None if values.get("trained_size") is None else _tuple(values["trained_size"])
            values["arguments"] = _tuple(values.get("arguments", []))
            return cls.of_file(source, **values)
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError(
                f"The segtool contract of {source} is incomplete ({_reason(error)}); export the model again."
            ) from error

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> ModelContract:
        """Read the contract from the metadata of an ONNX file; `source` is the name of the file in errors."""
        if METADATA_KEY not in metadata:
            raise ContractError(
                f"{source} has no segtool contract, so its input and classes are unknown; "
                "export the trained model with `segtool export` and use the exported file."
            )
        return cls.from_json(metadata[METADATA_KEY], source=source)


@dataclass(frozen=True)
class GoldenPair:
    """A few inputs and the labels of the exported model for them.

    Attributes
    ----------
    images
        uint8 (N, H, W, C), raw pixels.
    labels
        uint8 or uint16 (N, H, W), class ids.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.integer[Any]]

    def to_json(self) -> str:
        """Return the pair as JSON with zlib-compressed, base64-coded arrays."""
        return json.dumps({"images": _pack(self.images), "labels": _pack(self.labels)})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> GoldenPair:
        """Read the pair from the metadata of an ONNX file; `source` is the name of the file in errors."""
        if GOLDEN_KEY not in metadata:
            raise ContractError(f"{source} has no golden pair for the verification; export the model again.")
        try:
            raw = read_json(metadata[GOLDEN_KEY])
            return cls(images=_unpack(raw["images"]), labels=_unpack(raw["labels"]))
        except TypeError as error:
            raise ContractError(
                f"The golden pair of {source} cannot be read (a value has another type); export the model again."
            ) from error
        except (ValueError, KeyError, zlib.error) as error:
            raise ContractError(
                f"The golden pair of {source} cannot be read ({_reason(error)}); export the model again."
            ) from error


def default_palette(count: int, *, background_id: int | None = None) -> tuple[tuple[int, int, int], ...]:
    """Return `count` distinct colours; black for the background. The colour of an id depends on nothing else.

    The first 12 differ (CIEDE2000) for normal and colour-blind sight, also as the tint of an overlay on bright and dark
    regions, and from black and typical colours of photographs; the first 4 most of all. Colours beyond the list are
    golden-angle hues in three lightness steps.

    Parameters
    ----------
    count
        Number of classes.
    background_id
        The black class; None for none.
    """
    colors = [*_COLORS[:count]]
    for index in range(len(colors), count):
        hue = (index * 0.381966) % 1.0
        red, green, blue = colorsys.hls_to_rgb(hue, (0.55, 0.42, 0.68)[index // 8 % 3], 0.85)
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    if background_id is not None and 0 <= background_id < count:
        colors[background_id] = (0, 0, 0)
    return tuple(colors)


def _pack(array: npt.NDArray[Any]) -> dict[str, Any]:
    contiguous = np.ascontiguousarray(array)
    data = base64.b64encode(zlib.compress(contiguous.tobytes(), 9)).decode("ascii")
    return {"shape": list(array.shape), "dtype": str(array.dtype), "zlib_base64": data}


def _unpack(value: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype = np.dtype(value["dtype"])
    if dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise ValueError(f"dtype {dtype} in a golden pair")
    shape = value["shape"]
    if not 3 <= len(shape) <= 4 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"shape {str(shape)[:60]} in a golden pair")
    # For zlib, a limit of 0 means no limit, so the size is first checked to be positive and bounded.
    size = math.prod(shape) * dtype.itemsize
    if size > _MAX_GOLDEN_BYTES:
        raise ValueError(f"{size:,} bytes in a golden pair, but the limit is {_MAX_GOLDEN_BYTES:,}")
    data = zlib.decompressobj().decompress(base64.b64decode(value["zlib_base64"]), size)
    return np.frombuffer(data, dtype).reshape(shape)


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{str(value)[:60]!r} is not a list")
    return tuple(value)


def _reason(error: Exception) -> str:
    """Return the reason as text; a KeyError contains only the name of the missing key."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _version(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"its version is {str(value)[:60]!r}")
    return value
