"""The files of a folder data set: headers read without decoding, masks as raw values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtool.data.arrays import AnyArray
from segtool.data.classes import pack_colors, unpack_color
from segtool.errors import DataError
from segtool.images.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.images.image_io import read_image, read_mask

_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_ORIENTATION = 0x0112
_SIDEWAYS = 5
"""EXIF orientations from 5 on turn the image by a quarter, which swaps height and width."""


class ColorMaskError(DataError):
    """A mask in colour where the classes are values; `found` goes on from "The mask is"."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"The mask {path} is {found}.")
        self.found = found


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Attributes
    ----------
    size
        (height, width) in pixels, after its EXIF orientation where that is applied.
    grey
        Whether the file is grey.
    """

    size: tuple[int, int]
    grey: bool


def read_header(path: Path, *, oriented: bool) -> Header:
    """Read the size of an image file without decoding its pixels.

    Parameters
    ----------
    path
        The file.
    oriented
        Whether the EXIF orientation counts, as it does for `read_image` and does not for `read_mask`.

    Raises
    ------
    DataError
        The file is missing, empty or no image.
    """
    with opened(path) as stream, decoding(str(path)):
        image = open_checked(stream, str(path), MAX_PIXELS)
        width, height = image.size
        if oriented and image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS:
            width, height = height, width
        return Header((height, width), image.mode in _GREY_MODES)


def read_raw_mask(path: Path, *, colors: bool) -> AnyArray:
    """Return a mask's raw values.

    Parameters
    ----------
    path
        The file.
    colors
        Whether the classes are colours.

    Returns
    -------
    uint8 (H, W, 3) where the classes are colours, else integers (H, W).

    Raises
    ------
    DataError
        The file cannot be read, or is in colour where the classes are values.
    """
    if colors:
        return read_image(path, channels=3)
    raw = read_mask(path)
    if raw.ndim == 2:
        return raw
    if np.ptp(raw, axis=-1).any():
        found = [str(list(unpack_color(int(color)))) for color in np.unique(pack_colors(raw))[:6]]
        raise ColorMaskError(
            path,
            f"in colour ({', '.join(found)}, ...), expected one value per pixel; say which colour is which class in "
            'dataset.json: {"classes": [{"name": "...", "color": [r, g, b]}, ...]}',
        )
    return raw[..., 0]


def values_of(masks: Iterable[Path]) -> dict[int, Path]:
    """Return the distinct values of some masks, each with the first mask that holds it; each is decoded once."""
    found: dict[int, Path] = {}
    for path in masks:
        for value in np.unique(read_raw_mask(path, colors=False)).tolist():
            found.setdefault(value, path)
    return found
