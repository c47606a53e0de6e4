"""Boundary IoU: the IoU of the pixels near the outline of each class.

Cheng, Girshick, Dollár, Berg and Kirillov, "Boundary IoU: improving object-centric image segmentation evaluation",
CVPR 2021: of each class only the pixels count that lie in its mask and within `width` pixels of its outline, in the
truth and in the prediction each by its own outline. Where IoU is dominated by the inside of large objects, this is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError

BOUNDARY_CONVENTION = (
    "Boundary IoU (Cheng et al., CVPR 2021): IoU of the pixels of a class that have a pixel of another class, or the "
    "edge of the image, within the width in pixels, by Chebyshev distance (a square window), each map by its own "
    "outlines; counts are added up over all images. Ignored pixels count nowhere and are an edge in both maps. The "
    "width is 2 % of each image's diagonal, rounded, at least 1, unless it is given."
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
        Chebyshev distance in pixels, from 1 on: the window is a square of 2 `width` + 1 pixels.

    Returns
    -------
    numpy.ndarray
        bool (..., H, W): the inner boundaries of all classes at once, since a pixel lies in no mask but its own.

    Raises
    ------
    DataError
        `width` is below 1.
    """
    if width < 1:
        raise DataError(f"The boundary is {width} pixels wide; expected 1 or more.")
    height, row = labels.shape[-2:]
    band = np.ones(labels.shape, dtype=np.bool_)
    if min(height, row) > 2 * width:
        centre = width * (row + 1)  # of the first whole window, in the flat array
        differs = ~_uniform_windows(np.ascontiguousarray(labels).reshape(-1), row, width)
        band.reshape(-1)[centre : centre + differs.size] = differs
        band[..., :width, :] = band[..., -width:, :] = True
        band[..., :width] = band[..., -width:] = True
    return band


def _uniform_windows(flat: npt.NDArray[Any], row: int, width: int) -> npt.NDArray[np.bool_]:
    """Return for each window of a flat stack of images with `row` pixels a row whether it holds one label alone.

    A window is uniform when its horizontal neighbours are equal in every row and its vertical ones in one column.
    Windows that reach over the end of a row or an image mean nothing: their centres lie on the edge, which the caller
    sets. The flat arrays are what makes this fast: each step is one pass over contiguous memory.
    """
    across = _all_of(flat[1:] == flat[:-1], 2 * width, step=1)
    rows = _all_of(across, 2 * width + 1, step=row)
    down = _all_of(flat[row:] == flat[:-row], 2 * width, step=row)
    rows &= down[width : width + rows.size]
    return rows


def _all_of(values: npt.NDArray[np.bool_], count: int, *, step: int) -> npt.NDArray[np.bool_]:
    """Return for each i whether values[i], values[i + step], ... are all true, `count` of them: log2(count) passes."""
    have = 1
    while 2 * have <= count:
        values = values[: -have * step] & values[have * step :]
        have *= 2
    if have < count:
        shift = (count - have) * step
        values = values[:-shift] & values[shift:]
    return values
