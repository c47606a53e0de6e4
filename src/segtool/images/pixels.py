"""Access to the pixels of one image by rectangle or resized, so that a large image is in memory only once.

A decoded file stays in Pillow's format: converting all of it (to grey, to 8 bits, over black) would need a second and
a third copy. Each conversion works pixel by pixel, so a rectangle that is converted alone has the same values as in
the converted image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from PIL import Image

from segtool.array_types import UInt8Array
from segtool.images.arrays import row_bands
from segtool.images.decoding import WIDE_MODES, check_pixels, decoding, is_plain, to_uint8

_SENSOR_BITS = (8, 10, 12, 14)
"""Bits of cameras and scanners that write 16-bit files."""


class Pixels(Protocol):
    """The input image of a model before resizing."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def read(self, rows: slice, columns: slice) -> UInt8Array:
        """Return a rectangle, uint8 (h, w, C), 0..255; both slices start and end inside the image."""
        ...

    def resized(self, height: int, width: int) -> UInt8Array:
        """Return the image resized, uint8 (height, width, C), as `resize_image` does."""
        ...


@dataclass(frozen=True)
class ArrayPixels:
    """The pixels of an array, uint8 (H, W, C)."""

    array: UInt8Array

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.array.shape[0], self.array.shape[1]

    def read(self, rows: slice, columns: slice) -> UInt8Array:
        """Return a view of a rectangle."""
        return self.array[rows, columns]

    def resized(self, height: int, width: int) -> UInt8Array:
        """Return the image resized."""
        return resize_image(self.array, height, width)


class ImagePixels:
    """The pixels of a Pillow image of any mode, converted when they are read.

    Parameters
    ----------
    image
        The loaded image, rotated by its EXIF orientation.
    channels
        1 for grey, 3 for RGB.
    name
        Name of the image in errors.
    wide
        Whether the file has 16 bits per pixel and channel.

    Raises
    ------
    DataError
        The range of its pixels is unknown, or the channels are neither 1 nor 3.
    """

    def __init__(self, image: Image.Image, channels: int, name: str, *, wide: bool = False) -> None:
        check_pixels(image, channels, name)
        self._image = image
        self._channels = channels
        self._name = name
        self._wide = wide

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self._image.height, self._image.width

    @property
    def largest_value(self) -> int | None:
        """The largest value of a 16-bit file, 0..65535, without alpha; None for other files."""
        if not self._wide:
            return None
        with decoding(self._name):
            if self._image.mode in WIDE_MODES:
                grey = self._image if self._image.mode in ("I", "I;16") else self._image.convert("I")
                return _largest(grey)
            bands = [band for band in self._image.getbands() if band != "A"]
            # Pillow returns the upper 8 bits of colour.
            return 257 * max(_largest(self._image.getchannel(band)) for band in bands)

    def read(self, rows: slice, columns: slice) -> UInt8Array:
        """Return a converted rectangle."""
        box = (columns.start, rows.start, columns.stop, rows.stop)
        with decoding(self._name):
            part = self._image if box == (0, 0, *self._image.size) else self._image.crop(box)
            return to_uint8(part, self._channels)

    def whole(self) -> UInt8Array:
        """Return the whole image, uint8 (H, W, C), converted band by band."""
        height, width = self.size
        bands = list(row_bands(height, width))
        if len(bands) == 1:
            return self.read(bands[0], slice(0, width))
        array = np.empty((height, width, self._channels), dtype=np.uint8)
        for rows in bands:
            array[rows] = self.read(rows, slice(0, width))
        return array

    def resized(self, height: int, width: int) -> UInt8Array:
        """Return the image resized; without a conversion it is not copied first."""
        if self.size == (height, width):
            return self.whole()
        with decoding(self._name):
            resized = self._plain().resize((width, height), Image.Resampling.BILINEAR)
        return np.array(resized).reshape(height, width, self._channels)

    def _plain(self) -> Image.Image:
        """Return the image in mode L or RGB: itself, or a copy that was converted band by band."""
        if is_plain(self._image, self._channels):
            return self._image
        height, width = self.size
        plain = Image.new("L" if self._channels == 1 else "RGB", (width, height))
        for rows in row_bands(height, width):
            plain.paste(_to_pillow(self.read(rows, slice(0, width))), (0, rows.start))
        return plain


def _largest(band: Image.Image) -> int:
    """Return the largest value of an image of one band."""
    return int(cast("tuple[float, float]", band.getextrema())[1])  # of several bands, a pair for each


def sensor_bits(largest: int) -> int | None:
    """Return the bits of the sensor that uses this part of the range of 16 bits; None if all of it is used."""
    return next((bits for bits in _SENSOR_BITS if largest < 1 << bits), None)


def range_used(bits: int) -> str:
    """Return the percentage of the range of 16 bits that values of fewer bits use: "6 %"."""
    share = 100 * ((1 << bits) - 1) / 65535
    return f"{share:.{share < 1:d}f} %"


def resize_image(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resize uint8 (H, W, C) or (H, W) to height x width, bilinear, with anti-aliasing when shrinking."""
    if image.shape[:2] == (height, width):
        return image
    resized = np.array(_to_pillow(image).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(height, width, *image.shape[2:])


def _to_pillow(image: UInt8Array) -> Image.Image:
    plane = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return Image.fromarray(np.ascontiguousarray(plane))
