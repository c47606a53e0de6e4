"""Pictures of label maps: each class in its colour, in memory or written band by band."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from segtool.array_types import IntegerArray, UInt8Array
from segtool.files import atomic_path
from segtool.images.arrays import row_bands
from segtool.images.png import write_png

Palette = Sequence[tuple[int, int, int]]

_UNKNOWN_COLOR = (255, 255, 255)


def color_table(palette: Palette, size: int) -> UInt8Array:
    """Return the colours of ids 0 to `size` - 1, uint8 (size, 3); white beyond the palette."""
    table = np.full((size, 3), _UNKNOWN_COLOR, dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)[:size]
    return table


def colorize(labels: IntegerArray, palette: Palette) -> UInt8Array:
    """Return the palette's colour of each label, uint8 (..., 3); ids beyond the palette are white."""
    size = max(len(palette), int(labels.max(initial=0))) + 1
    return color_table(palette, size)[labels]


def write_image(path: str | Path, image: UInt8Array) -> None:
    """Write uint8 (H, W), (H, W, 1) or (H, W, 3) as a PNG, atomically; an existing file is replaced."""
    write_bands(path, [image], image.shape)


def write_color(path: str | Path, labels: IntegerArray, palette: Palette) -> None:
    """Write the result of `colorize` for labels (H, W) as `write_image` does, band by band."""
    bands = (colorize(labels[rows], palette) for rows in row_bands(*labels.shape))
    write_bands(path, bands, (*labels.shape, 3))


def write_bands(path: str | Path, bands: Iterable[UInt8Array], shape: tuple[int, ...]) -> None:
    """Write a picture of a shape (H, W) or (H, W, C) from consecutive bands of its rows, as `write_image` does."""
    channels = shape[2] if len(shape) == 3 else 1
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        write_png(stream, bands, height=shape[0], width=shape[1], channels=channels)
