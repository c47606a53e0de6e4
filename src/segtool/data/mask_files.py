"""The masks of a folder data set as raw values, and what all of them hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray
from segtool.data.classes import pack_colors, unpack_color
from segtool.data.mask_values import MaskValues
from segtool.errors import DataError
from segtool.images.image_io import read_image, read_mask, read_mask_pixels


class ColorMaskError(DataError):
    """A mask in colour where the classes are values; `found` goes on from "The mask is"."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"The mask {path} is {found}.")
        self.found = found


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
    return _single_channel(read_mask(path), path)


@dataclass(frozen=True)
class MaskSurvey:
    """What all masks of a folder hold, where their classes are values.

    Attributes
    ----------
    values
        The values, their pixels, and which of them occur together.
    colors
        For each value that occurs in palette files, its colours, each with the first mask that has it.
    """

    values: MaskValues
    colors: dict[int, dict[tuple[int, int, int], Path]]


def survey_masks(masks: Iterable[Path]) -> MaskSurvey:
    """Return what some masks hold; each is decoded once.

    Raises
    ------
    DataError
        A mask cannot be read, or is in colour.
    """
    survey = MaskSurvey(MaskValues(), {})
    for path in masks:
        mask = read_mask_pixels(path)
        values = _single_channel(mask.values, path)
        survey.values.add(values, str(path))
        if mask.palette is not None:
            for value in np.flatnonzero(np.bincount(values.ravel())).tolist():
                if value < len(mask.palette):
                    red, green, blue = mask.palette[value].tolist()
                    survey.colors.setdefault(value, {}).setdefault((red, green, blue), path)
    return survey


def _single_channel(raw: AnyArray, path: Path) -> AnyArray:
    """Return values (H, W) of a mask; refuse one in colour."""
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
