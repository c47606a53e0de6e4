"""Conversion of images and label maps to the pixels of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

IGNORED_COLOR = (222, 222, 222)


def gray_to_rgb(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a uint8 image (h, w), (h, w, 1) or (h, w, 3) as (h, w, 3)."""
    if image.ndim == 2:
        image = image[..., np.newaxis]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def color_labels(
    labels: npt.NDArray[np.integer[Any]], palette: Sequence[tuple[int, int, int]], *, ignore_id: int | None
) -> npt.NDArray[np.uint8]:
    """Return the colours of class ids (h, w) as uint8 (h, w, 3); pixels of `ignore_id` are light grey.

    The ids must be below ``len(palette)`` or equal to `ignore_id`.
    """
    colors: npt.NDArray[np.uint8] = np.asarray([*palette, IGNORED_COLOR], dtype=np.uint8)
    indices = labels if ignore_id is None else np.where(labels == ignore_id, len(palette), labels)
    return np.take(colors, indices, axis=0)


def fit(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return uint8 (h, w, 3) `pixels` at `size` (height, width).

    Shrinking averages areas, so that thin classes stay visible. Enlarging keeps square pixels for a whole factor, and
    interpolates for another factor.
    """
    height, width = size
    if (height, width) == pixels.shape[:2]:
        return pixels
    whole = height % pixels.shape[0] == 0 and width % pixels.shape[1] == 0
    if height < pixels.shape[0] or width < pixels.shape[1]:
        method = Image.Resampling.BOX
    else:
        method = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))
