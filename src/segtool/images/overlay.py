"""Class colours over an image: tinted regions with outlines, and a legend below; in memory or written as a PNG.

A region has its class colour at 44 % over the image, which keeps a sixth of its own colour and half of its contrast.
So regions of one class look alike in the shadow and in the sun, and the image stays readable. The outline of a region
lies inside the region and has the full colour of the class. So a thin object has its full colour, and an outline
differs from both its own region and its neighbour. Pixels of the background class are the pixels of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.array_types import BoolArray, IntegerArray, UInt8Array
from segtool.errors import DataError
from segtool.images.arrays import row_bands
from segtool.images.pictures import Palette, color_table, write_bands

_Integer = TypeVar("_Integer", bound=np.integer[Any])

# Weights in 256ths: of the class colour, of the image's colour and of its brightness; and what brightens dark images.
_TINT, _COLOR, _GREY, _LIFT = 112, 44, 76, 24
# Brightness of red, green and blue in 256ths (ITU-R BT.601).
_BRIGHTNESS = (77, 150, 29)
_LINES_A_SIDE = 450  # the longer side in widths of an outline

# Images whose longer side is at most half of this are enlarged, at most by this factor.
_SMALL_SIDE = 336
_MOST_TIMES = 8


def overlay(
    image: UInt8Array, labels: IntegerArray, palette: Palette, *, background_id: int | None = None
) -> UInt8Array:
    """Draw the regions of a label map over its image: tinted, with an outline.

    Parameters
    ----------
    image
        uint8 (H, W), (H, W, 1) or (H, W, 3).
    labels
        Class ids (H, W).
    palette
        A colour per class.
    background_id
        The class whose pixels stay unchanged; None for none.

    Returns
    -------
    numpy.ndarray
        uint8 (H, W, 3).

    Raises
    ------
    DataError
        The sizes differ.
    """
    picture = np.empty((*labels.shape, 3), np.uint8)
    first = 0
    for band in _bands(image, labels, palette, background_id):
        picture[first : first + len(band)] = band
        first += len(band)
    return picture


def enlarged(array: npt.NDArray[_Integer], times: int) -> npt.NDArray[_Integer]:
    """Return an image or labels (H, W, ...) with a square of `times` x `times` pixels for each pixel."""
    return array if times == 1 else array.repeat(times, axis=0).repeat(times, axis=1)


def enlargement(size: tuple[int, ...]) -> int:
    """Return the factor by which an image of a size (height, width) is enlarged, so that single pixels are visible."""
    return min(_MOST_TIMES, max(1, _SMALL_SIDE // max(size)))


def write_overlay(
    path: str | Path,
    image: UInt8Array,
    labels: IntegerArray,
    palette: Palette,
    *,
    names: Sequence[str],
    background_id: int | None = None,
) -> None:
    """Write the result of `overlay` as `write_image` does, band by band, with a legend of the classes below.

    Small images are enlarged by an integer factor, so that single pixels and the legend are readable.
    """
    # Imported here: label maps alone do not need the fonts.
    from segtool.images.legend import PAPER, Legend, legend_keys

    times = enlargement(labels.shape)
    image, labels = enlarged(image, times), enlarged(labels, times)
    legend = Legend(legend_keys(labels, names, palette, background_id), labels.shape)
    pictures = _bands(image, labels, palette, background_id)
    bands = chain((widened(picture, legend.width, PAPER) for picture in pictures), legend.bands())
    write_bands(path, bands, (labels.shape[0] + legend.height, legend.width, 3))


def widened(picture: UInt8Array, width: int, paper: tuple[int, int, int]) -> UInt8Array:
    """Return a picture (h, w, 3) filled with `paper` on the right up to `width`."""
    if picture.shape[1] == width:
        return picture
    wide = np.full((len(picture), width, 3), paper, np.uint8)
    wide[:, : picture.shape[1]] = picture
    return wide


def _bands(
    image: UInt8Array, labels: IntegerArray, palette: Palette, background_id: int | None
) -> Iterator[UInt8Array]:
    """Yield the rows of `overlay` in bands; each is computed with the rows that its outlines depend on."""
    if image.shape[:2] != labels.shape:
        raise DataError(f"The image has size {image.shape[:2]} and its labels {labels.shape}; expected the same size.")
    height, width = labels.shape
    line = -(-max(height, width) // _LINES_A_SIDE)
    for rows in row_bands(height, width):
        first = max(0, rows.start - line)
        around = slice(first, min(height, rows.stop + line))
        outlines = _outlines(labels[around], line)[rows.start - first : rows.stop - first]
        yield _drawn(image[rows], labels[rows], outlines, palette, background_id)


def _drawn(
    image: UInt8Array, labels: IntegerArray, outlines: BoolArray, palette: Palette, background_id: int | None
) -> UInt8Array:
    """Return rows of the overlay, uint8 (n, W, 3), with the class colour where `outlines` (n, W) is true."""
    base = np.broadcast_to(image[..., np.newaxis] if image.ndim == 2 else image, (*labels.shape, 3))
    colors = color_table(palette, max(len(palette), int(labels.max(initial=0)) + 1))
    mixed = np.take(colors.astype(np.uint16) * _TINT + _LIFT * 256, labels, axis=0)
    mixed += base * np.uint16(_COLOR)
    grey = base.astype(np.uint16) @ np.asarray(_BRIGHTNESS, np.uint16) >> 8
    mixed += (grey * np.uint16(_GREY))[..., np.newaxis]
    mixed >>= 8
    picture = mixed.astype(np.uint8)
    picture[outlines] = colors[labels[outlines]]
    if background_id is not None:
        np.copyto(picture, base, where=(labels == background_id)[..., np.newaxis])
    return picture


def _outlines(labels: IntegerArray, line: int) -> BoolArray:
    """Return which pixels (H, W) have another class at most `line` rows and columns away, not `line` of both."""
    near = np.zeros(labels.shape, np.bool_)
    for across, found in ((labels, near), (labels.T, near.T)):
        differs = across[1:] != across[:-1]
        found[1:] |= differs
        found[:-1] |= differs
    reached = 1
    while reached < line:  # a maximum over a window, in steps that triple its size
        step = min(2 * reached - 1, line - reached)
        near = _spread(_spread(near, step).T, step).T
        reached += step
    return near


def _spread(mask: BoolArray, step: int) -> BoolArray:
    """Return a mask (H, W) with what is true also `step` rows above and below."""
    wide = mask.copy()
    wide[step:] |= mask[:-step]
    wide[:-step] |= mask[step:]
    return wide
