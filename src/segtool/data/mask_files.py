"""The masks of a folder data set as raw values, and what all of them hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray
from segtool.data.classes import pack_colors, unpack_color
from segtool.data.inferred_classes import UndescribedError
from segtool.data.mask_values import Color, MaskValues
from segtool.errors import DataError
from segtool.images.image_io import read_mask, read_mask_colors, read_mask_pixels

_MOST_COLORS = 32  # in a suggested description


class ColorMaskError(DataError):
    """A mask in colour where the classes are values; `found` goes on from "The mask is"."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"The mask {path} is {found}.")
        self.found = found


def read_raw_mask(path: Path, *, colors: bool) -> AnyArray:
    """Return a mask's raw values: uint8 (H, W, 3) where the classes are `colors`, else integers (H, W).

    Raise a DataError if the file cannot be read, or is in colour where the classes are values.
    """
    if colors:
        return read_mask_colors(path)
    return _single_channel(read_mask(path), path)


def survey_masks(masks: Iterable[Path]) -> MaskValues:
    """Return what some masks hold; each is decoded once. Raise a DataError if one cannot be read or is in colour."""
    held = MaskValues()
    for path in masks:
        mask = read_mask_pixels(path)
        values = _single_channel(mask.values, path)
        held.add(values, str(path))
        if mask.palette is not None:
            for value in np.flatnonzero(np.bincount(values.ravel())[: len(mask.palette)]).tolist():
                red, green, blue = mask.palette[value].tolist()
                held.colors.setdefault(value, {}).setdefault((red, green, blue), path)
    return held


def refuse_differing_palettes(colors: Mapping[int, Mapping[Color, Path]], *, source: str) -> None:
    """Raise an UndescribedError for palette masks in which one value has two colours, so that it is not one class.

    `colors` are as in `MaskValues`; `source` names the folder.
    """
    differing = {value: found for value, found in colors.items() if len(found) > 1}
    if not differing:
        return
    value, found = min(differing.items())
    (one, first), (other, second) = list(found.items())[:2]
    every = sorted(dict.fromkeys(color for held in colors.values() for color in held), key=any)  # black first
    more = ", ..." if len(every) > _MOST_COLORS else ""
    entries = [
        {"name": f"class {index}" if any(color) else "background", "color": color}
        for index, color in enumerate(every[:_MOST_COLORS])
    ]
    raise UndescribedError(
        f"The palettes of the masks of {source} differ: the value {value} is {list(one)} in {first} and {list(other)} "
        f"in {second} ({len(differing)} of {len(colors)} values differ), expected one colour for each value; describe "
        f'the classes by colour in a dataset.json: {{"classes": {json.dumps(entries)[:-1]}{more}'
        "]}, or by value where the values are right and the colours are not."
    )


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
