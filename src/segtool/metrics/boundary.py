"""Boundary IoU: the IoU of the pixels near the outline of each class.

Cheng, Girshick, Dollár, Berg and Kirillov, "Boundary IoU: improving object-centric image segmentation evaluation",
CVPR 2021. For each class, only the pixels in its mask within `width` pixels of its outline count, for truth and
prediction each with its own outline. Unlike IoU, the figure is not dominated by the inside of large objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError

BOUNDARY_CONVENTION = (
    "Boundary IoU (Cheng et al., CVPR 2021): IoU of the pixels of a class within the width of a pixel of another class "
    "or of the edge of the image, by Chebyshev distance (a square window), each map with its own outlines. Counts are "
    "summed over all images. Ignored pixels are not counted and are an edge in both maps. The default width is 2 % of "
    "the image diagonal, rounded, at least 1 pixel."
)
_SHARE_OF_DIAGONAL = 0.02


def default_width(height: int, width: int) -> int:
    """Return the width of the boundary in pixels for images of a size: 2 % of the diagonal, at least 1."""
    return max(1, round(_SHARE_OF_DIAGONAL * float(np.hypot(height, width))))


def boundary_band(labels: npt.NDArray[np.integer[Any]], width: int) -> npt.NDArray[np.bool_]:
    """Return the pixels with a pixel of another label, or the edge of the image, within `width` pixels.

    Parameters
    ----------
    labels
        Class ids (..., H, W).
    width
        Chebyshev distance in pixels, 1 or greater: the window is a square of 2 `width` + 1 pixels.

    Returns
    -------
    numpy.ndarray
        bool (..., H, W): the inner boundaries of all classes at once, because a pixel lies only in its own mask.

    Raises
    ------
    DataError
        `width` is below 1.
    """
    if width < 1:
        raise DataError(f"The boundary width is {width} pixels; expected 1 or more.")
    height, row = labels.shape[-2:]
    band = np.ones(labels.shape, dtype=np.bool_)
    if min(height, row) > 2 * width:
        centre = width * (row + 1)  # centre of the first full window, in the flat array
        differs = ~_uniform_windows(np.ascontiguousarray(labels).reshape(-1), row, width)
        band.reshape(-1)[centre : centre + differs.size] = differs
        band[..., :width, :] = band[..., -width:, :] = True
        band[..., :width] = band[..., -width:] = True
    return band


def _uniform_windows(flat: npt.NDArray[Any], row: int, width: int) -> npt.NDArray[np.bool_]:
    """Return whether each window of a flat stack of images with `row` pixels per row contains only one label.

    A window is uniform if its horizontal neighbours are equal in each row and its vertical ones in one column.
    Windows across the end of a row or an image are invalid: their centres lie on the edge, which the caller sets. Flat
    arrays make this fast: each step is one pass over contiguous memory.
    """
    across = _all_of(flat[1:] == flat[:-1], 2 * width, step=1)
    rows = _all_of(across, 2 * width + 1, step=row)
    down = _all_of(flat[row:] == flat[:-row], 2 * width, step=row)
    rows &= down[width : width + rows.size]
    return rows


def _all_of(values: npt.NDArray[np.bool_], count: int, *, step: int) -> npt.NDArray[np.bool_]:
    """Return, for each i, whether `count` values[i], values[i + step], ... are all true, in log2(count) passes."""
    have = 1
    while 2 * have <= count:
        values = values[: -have * step] & values[have * step :]
        have *= 2
    if have < count:
        shift = (count - have) * step
        values = values[:-shift] & values[shift:]
    return values
