"""How pixels are scaled before a network sees them.

Source of the figures of "imagenet": torchvision's transforms, in units of 0..255 here. Source of those of "caffe":
keras.applications.imagenet_utils, mode "caffe".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segtool.array_types import FloatArray, UInt8Array
from segtool.errors import ExportError

ColorOrder = Literal["rgb", "bgr"]
_NUMBERS = re.compile(r"^(?P<mean>[-+.\d,e]+)/(?P<std>[-+.\d,e]+)(?::(?P<order>rgb|bgr))?$")
HELP = "MEAN/STD or MEAN/STD:bgr, in units of 0..255, one number or one a channel"


@dataclass(frozen=True)
class InputScale:
    """The scaling (pixel - mean) / std of raw pixels 0..255.

    Attributes
    ----------
    name
        As on the command line.
    mean, std
        One number, or one for each channel in the order of `order`; in units of 0..255.
    order
        Order of the channels that the network takes.
    """

    name: str
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    order: ColorOrder = "rgb"

    def apply(self, images: UInt8Array) -> FloatArray:
        """Return the scaled pixels, float32 (N, H, W, C), of RGB or grey images uint8 (N, H, W, C)."""
        ordered = images[..., ::-1] if self.order == "bgr" else images
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        scaled: FloatArray = (ordered.astype(np.float32) - mean) / std
        return scaled

    def facts(self) -> dict[str, Any]:
        """Return the scaling as the contract states it."""
        return {"name": self.name, "mean": list(self.mean), "std": list(self.std), "order": self.order}


IMAGENET_MEAN = (123.675, 116.28, 103.53)
RAW, UNIT = InputScale("0..255"), InputScale("0..1", std=(255.0,))
SCALES = (
    UNIT,
    InputScale("-1..1", mean=(127.5,), std=(127.5,)),
    InputScale("imagenet", mean=IMAGENET_MEAN, std=(58.395, 57.12, 57.375)),
    InputScale("caffe", mean=(103.939, 116.779, 123.68), order="bgr"),
    RAW,
)
"""The usual scalings, which are tried where none is given."""


def scales_for(channels: int) -> tuple[InputScale, ...]:
    """Return the usual scalings that images of so many channels have."""
    return SCALES if channels == 3 else tuple(item for item in SCALES if len(item.mean) == 1)


def read_scale(text: str, channels: int) -> InputScale:
    """Return the scaling that the user named.

    Parameters
    ----------
    text
        The name of a usual one, or numbers such as ``127.5/127.5`` or ``104,117,123/1:bgr``.
    channels
        Of the network.

    Raises
    ------
    ExportError
        There is no such scaling, or it has numbers for another count of channels.
    """
    text = str(text)
    known = {item.name: item for item in scales_for(channels)}
    if text in known:
        return known[text]
    scale = _of_numbers(text)
    if scale is None or (scale.order == "bgr" and channels != 3):
        raise ExportError(
            f"--input-scale is {text!r}, expected {', '.join(known)} for {channels} channel(s), or numbers: {HELP}."
        )
    counts = {len(scale.mean), len(scale.std)} - {1, channels}
    if counts:
        raise ExportError(
            f"--input-scale has {counts.pop()} numbers, and the network takes {channels} channel(s); give one number, "
            "or one for each channel."
        )
    return scale


def _of_numbers(text: str) -> InputScale | None:
    """Return the scaling MEAN/STD or MEAN/STD:bgr; None for another text."""
    found = _NUMBERS.match(text)
    try:
        mean, std = (tuple(map(float, found[name].split(","))) for name in ("mean", "std")) if found else ((), ())
    except ValueError:
        return None
    if not std or min(std) <= 0 or not all(map(math.isfinite, (*mean, *std))):
        return None
    return InputScale(text, mean, std, "bgr" if found and found["order"] == "bgr" else "rgb")
