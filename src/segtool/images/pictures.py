"""Pictures of label maps: classes in colour, alone or over the image, in memory or written band by band."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from segtool.array_types import IntegerArray, UInt8Array
from segtool.errors import DataError
from segtool.files import atomic_path, refuse_existing
from segtool.images.arrays import row_bands
from segtool.images.png import write_png

Palette = Sequence[tuple[int, int, int]]

_UNKNOWN_COLOR = (255, 255, 255)
_ALPHA = 0.5

# Overlays of images whose longer side is at most half of this are enlarged, at most by this factor.
_SMALL_SIDE = 336
_MOST_TIMES = 8


def color_table(palette: Palette, size: int) -> UInt8Array:
    """Return the colours of ids 0 to `size` - 1, uint8 (size, 3); white beyond the palette."""
    table = np.full((size, 3), _UNKNOWN_COLOR, dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)[:size]
    return table


def colorize(labels: IntegerArray, palette: Palette) -> UInt8Array:
    """Return the palette's colour of each label, uint8 (..., 3); ids beyond the palette are white."""
    size = max(len(palette), int(labels.max(initial=0))) + 1
    return color_table(palette, size)[labels]


def overlay(
    image: UInt8Array,
    labels: IntegerArray,
    palette: Palette,
    *,
    alpha: float = _ALPHA,
    background_id: int | None = None,
) -> UInt8Array:
    """Blend the colours of a label map over its image.

    Parameters
    ----------
    image
        uint8 (H, W), (H, W, 1) or (H, W, 3).
    labels
        Class ids (H, W).
    palette
        A colour per class.
    alpha
        Weight of the label's colour, 0..1.
    background_id
        The class whose pixels stay unchanged; None for none.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).
    """
    _check_sizes(image, labels)
    grey = image[..., np.newaxis] if image.ndim == 2 else image
    base = np.broadcast_to(grey, (*labels.shape, 3))
    blended = np.rint(base * (1.0 - alpha) + colorize(labels, palette) * alpha).astype(np.uint8)
    if background_id is None:
        return blended
    return np.where((labels == background_id)[..., np.newaxis], base, blended)


def write_image(path: str | Path, image: UInt8Array, *, overwrite: bool = False) -> None:
    """Write uint8 (H, W), (H, W, 1) or (H, W, 3) as a PNG, atomically; errors as in `segtool.files`."""
    _write(path, [image], image.shape, overwrite=overwrite)


def write_color(path: str | Path, labels: IntegerArray, palette: Palette, *, overwrite: bool = False) -> None:
    """Write the result of `colorize` for labels (H, W) as `write_image` does, band by band."""
    bands = (colorize(labels[rows], palette) for rows in row_bands(*labels.shape))
    _write(path, bands, (*labels.shape, 3), overwrite=overwrite)


def write_overlay(
    path: str | Path,
    image: UInt8Array,
    labels: IntegerArray,
    palette: Palette,
    *,
    names: Sequence[str],
    background_id: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the result of `overlay` as `write_image` does, band by band, with a legend of the classes below.

    Small images are enlarged by an integer factor, so that single pixels and the legend are readable.
    """
    from segtool.images.legend import (
        PAPER,
        Legend,
        legend_keys,
    )  # imported here: label maps alone do not need the fonts

    _check_sizes(image, labels)
    times = min(_MOST_TIMES, max(1, _SMALL_SIDE // max(labels.shape)))
    keys = legend_keys(labels, names, palette, background_id)
    legend = Legend(keys, labels.shape[1] * times)
    pictures = (
        overlay(image[rows], labels[rows], palette, background_id=background_id) for rows in row_bands(*labels.shape)
    )
    bands = chain((_enlarged(picture, times, legend.width, PAPER) for picture in pictures), legend.bands())
    _write(path, bands, (labels.shape[0] * times + legend.height, legend.width, 3), overwrite=overwrite)


def _enlarged(picture: UInt8Array, times: int, width: int, paper: tuple[int, int, int]) -> UInt8Array:
    """Return a picture (h, w, 3) enlarged by `times`, and filled with `paper` on the right up to `width`."""
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    if large.shape[1] == width:
        return large
    wide = np.full((len(large), width, 3), paper, np.uint8)
    wide[:, : large.shape[1]] = large
    return wide


def _write(path: str | Path, bands: Iterable[UInt8Array], shape: tuple[int, ...], *, overwrite: bool) -> None:
    target = refuse_existing(path, overwrite=overwrite)
    channels = shape[2] if len(shape) == 3 else 1
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        write_png(stream, bands, height=shape[0], width=shape[1], channels=channels)


def _check_sizes(image: UInt8Array, labels: IntegerArray) -> None:
    if image.shape[:2] != labels.shape:
        raise DataError(f"The image has size {image.shape[:2]} and its labels {labels.shape}; expected the same size.")
