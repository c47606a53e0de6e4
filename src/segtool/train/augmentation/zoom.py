"""An image and its labels seen through a window of another scale, sampled at the same positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from segtool.array_types import IndexArray, UInt8Array

Value = TypeVar("Value", bound=np.generic)

_SAME = 1e-6  # pixels; positions that are closer are the same one, which rounding moved


@dataclass(frozen=True)
class Axis:
    """One axis of a zoom.

    Output pixel i covers [start + i / factor, start + (i + 1) / factor) of the image, where pixel j covers [j, j + 1).

    Attributes
    ----------
    length
        Pixels of the image.
    start
        Where the window begins, in pixels of the image; it may lie outside.
    factor
        Output pixels per pixel of the image; above 1 enlarges.
    size
        Output pixels.
    """

    length: int
    start: float
    factor: float
    size: int

    @cached_property
    def known(self) -> slice:
        """The output pixels that lie inside the image as a whole; the slice holds one pixel at least."""
        first = min(max(0, math.ceil(-self.start * self.factor - _SAME)), self.size - 1)
        last = min(self.size, math.floor((self.length - self.start) * self.factor + _SAME))
        return slice(first, max(last, first + 1))

    @cached_property
    def box(self) -> tuple[float, float]:
        """The part of the image that the known pixels cover."""
        low, high = (self.start + edge / self.factor for edge in (self.known.start, self.known.stop))
        return min(max(low, 0.0), self.length - _SAME), min(max(high, _SAME), float(self.length))

    @cached_property
    def needed(self) -> slice:
        """The pixels of the image that the filter reads for `box`: more of them where it averages."""
        margin = math.ceil(max(1.0, 1 / self.factor)) + 1
        low, high = self.box
        return slice(max(0, math.floor(low) - margin), min(self.length, math.ceil(high) + margin))

    @cached_property
    def nearest(self) -> IndexArray:
        """For each known pixel, the pixel of the image that contains its centre."""
        centres = self.start + (np.arange(self.known.start, self.known.stop) + 0.5) / self.factor
        return np.clip(np.floor(centres), 0, self.length - 1).astype(np.intp)


@dataclass(frozen=True)
class Zoom:
    """What a window shows of an image; only its known pixels, which `known` places in the window."""

    rows: Axis
    columns: Axis

    @property
    def known(self) -> tuple[slice, slice]:
        """The rows and columns of the window that the image covers."""
        return self.rows.known, self.columns.known

    def image(self, image: UInt8Array) -> UInt8Array:
        """Return the known pixels of an image uint8 (H, W, C), bilinear, averaged over more pixels where it shrinks."""
        part = np.ascontiguousarray(image[self.rows.needed, self.columns.needed])
        height, width = (part_of.stop - part_of.start for part_of in self.known)
        corner = self.columns.needed.start, self.rows.needed.start
        ends = zip(self.columns.box, self.rows.box, strict=True)
        box = [position - origin for end in ends for position, origin in zip(end, corner, strict=True)]
        plain = Image.fromarray(part[..., 0] if part.shape[-1] == 1 else part)
        resized = plain.resize((width, height), Image.Resampling.BILINEAR, box=(box[0], box[1], box[2], box[3]))
        return np.asarray(resized).reshape(height, width, -1)

    def labels(self, labels: npt.NDArray[Value]) -> npt.NDArray[Value]:
        """Return the known pixels of a map (H, W) of any type, each from the nearest pixel."""
        return labels[self.rows.nearest[:, None], self.columns.nearest]
