"""The dataset.json that masks need, for the user to read and correct: what they hold, how much of it, and names."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtool.data.arrays import AnyArray
from segtool.data.class_lists import folder_metadata, named_by_position
from segtool.data.classes import USUAL_IGNORE, pack_colors, unpack_color
from segtool.data.listing import is_image_folder, list_samples
from segtool.data.lossy import lossy_masks
from segtool.data.metadata import FILE_NAME, Metadata
from segtool.data.problem import refuse
from segtool.data.wording import counted
from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes
from segtool.runtime.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.runtime.image_io import read_image, read_mask

logger = logging.getLogger(__name__)
_MOST = 256  # values or colours: more are no classes
_SPREAD = 2  # the widest gap between grey levels that are evenly spread, in narrowest gaps


@dataclass(frozen=True)
class Proposal:
    """A description of masks.

    Attributes
    ----------
    description
        What the dataset.json says; each class has a "share" of all pixels, for the reader alone.
    ignored_share
        Share of all pixels that are ignored.
    masks
        How many were looked at.
    """

    description: Mapping[str, Any]
    ignored_share: float
    masks: int

    def text(self) -> str:
        """Return the file's text, with a line for each class."""
        lines = [f"    {_json(entry)}" for entry in self.description["classes"]]
        rest = [f"  {_json(key)}: {_json(value)}" for key, value in self.description.items() if key != "classes"]
        return "{\n" + ",\n".join(['  "classes": [\n' + ",\n".join(lines) + "\n  ]", *rest]) + "\n}\n"


def write_proposal(folder: Path, *, overwrite: bool = False) -> Proposal:
    """Write the dataset.json that the masks of a folder need.

    What a dataset.json that is replaced, or a list of another tool, says of classes is kept.

    Raises
    ------
    OutputExistsError, OutputWriteError
        As in `segtool.files`.
    DataError
        As in `propose`.
    """
    target = refuse_existing(folder / FILE_NAME, overwrite=overwrite)
    found = propose(folder)
    write_bytes(target, found.text().encode())
    return found


def propose(folder: Path) -> Proposal:
    """Describe the masks of a folder; each is decoded once, or twice where it is in colour.

    Raises
    ------
    DataError
        It is no folder of images and masks, or its masks cannot be read or hold no classes.
    """
    if not folder.is_dir() or not is_image_folder(folder):
        raise DataError(
            f"{folder} is no folder of images and masks, expected one such as images/ beside masks/; name that folder."
        )
    listing = list_samples(folder)
    masks = [sample.mask for sample in listing.samples]
    if not masks:
        refuse(listing.problems, spec=str(folder))
    if lossy := lossy_masks(masks):
        raise DataError(lossy)
    known = _known(folder, masks)
    colors = known.encoding.colors if known else _are_colors(masks)
    pixels = _count(masks, colors=colors)
    if known is None and not colors:
        known = named_by_position(folder, pixels)
    if len(pixels) > _MOST:
        raise DataError(
            f"The masks of {folder} hold {len(pixels):,} {'colours' if colors else 'values'}, expected one for each "
            f"class, {_MOST} at most; write masks without soft edges, as PNG."
        )
    return _described(pixels, known, colors=colors, masks=len(masks))


def _known(folder: Path, masks: Sequence[Path]) -> Metadata | None:
    try:
        return folder_metadata(folder, masks)
    except DataError as error:
        logger.warning("Nothing is kept of what describes the masks so far: %s", error)
        return None


def _are_colors(masks: Sequence[Path]) -> bool:
    """Return whether the classes are colours: of a mask in colour, or of palettes that differ in what they use."""
    color_of: dict[int, tuple[int, ...]] = {}
    for path in masks:
        raw = read_mask(path)
        if raw.ndim == 3 and np.ptp(raw, axis=-1).any():
            return True
        for value, color in _palette(path).items():
            if value in raw and color_of.setdefault(value, color) != color:
                return True
    return False


def _palette(path: Path) -> dict[int, tuple[int, ...]]:
    """Return the colour of each index of a palette file; empty where it has no palette."""
    with opened(path) as stream, decoding(str(path)):
        image: Image.Image = open_checked(stream, str(path), MAX_PIXELS)
        flat = (image.getpalette("RGB") or []) if image.mode == "P" else []
    return {at // 3: tuple(flat[at : at + 3]) for at in range(0, len(flat), 3)}


def _count(masks: Sequence[Path], *, colors: bool) -> Counter[int]:
    """Return the pixels of each value, or of each packed colour."""
    pixels: Counter[int] = Counter()
    for path in masks:
        raw: AnyArray = pack_colors(read_image(path, channels=3)) if colors else read_mask(path)
        values, numbers = np.unique(raw if raw.ndim == 2 else raw[..., 0], return_counts=True)
        pixels.update(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
    return pixels


def _described(pixels: Counter[int], known: Metadata | None, *, colors: bool, masks: int) -> Proposal:
    names, ignored = _names(sorted(pixels), known, colors=colors)
    if len(names) < 2:
        raise DataError(
            f"{counted(masks, 'mask')} hold one value in all pixels that count, expected two classes or more; look "
            "whether the masks were written right."
        )
    total = pixels.total()
    key = "color" if colors else "value"
    classes = [
        {
            "name": name,
            key: list(unpack_color(value)) if colors else value,
            "share": float(f"{pixels[value] / total:.4g}"),
        }
        for value, name in names.items()
    ]
    shown = None if ignored is None else list(unpack_color(ignored)) if colors else ignored
    description: dict[str, Any] = {"classes": classes, "background": _background(names, known)}
    description["ignore_color" if colors else "ignore_id"] = shown
    if known is not None and known.channels is not None:
        description["channels"] = known.channels
    if known is not None and known.provenance:
        description["provenance"] = dict(known.provenance)
    return Proposal(description, pixels[ignored] / total if ignored is not None else 0.0, masks)


def _names(held: Sequence[int], known: Metadata | None, *, colors: bool) -> tuple[dict[int, str], int | None]:
    """Return the name of each value or packed colour that is a class, and what is ignored."""
    names: dict[int, str] = {}
    ignored = None if colors or known else usual_ignore(held)
    for key, label in _keys(known):
        if known is not None and label == known.classes.ignore_id:
            ignored = key
        elif known is not None:
            names[key] = known.classes.names[label]
    unnamed = [value for value in held if value != ignored and value not in names]
    for value in unnamed:
        names[value] = _free_name(value, names, two=len(unnamed) == 2 and not known, colors=colors)
    return names, ignored


def _free_name(value: int, names: Mapping[int, str], *, two: bool, colors: bool) -> str:
    """Return a name that no class has: what 0 or black usually is, or a number."""
    if value == 0 and "background" not in names.values():
        return "background"
    if two and 0 in names:
        return "foreground"
    number = len(names) if colors else value
    while f"class {number}" in names.values():
        number += 1
    return f"class {number}"


def _keys(known: Metadata | None) -> list[tuple[int, int]]:
    """Return the value or packed colour of each label of a description, in the order of the labels."""
    if known is None:
        return []
    keys = zip(known.encoding.keys.tolist(), known.encoding.labels.tolist(), strict=True)
    return sorted(keys, key=lambda pair: pair[1])


def usual_ignore(held: Sequence[int]) -> int | None:
    """Return 255 where it stands beside two other values or more, and not as the last of evenly spread grey levels."""
    rest = [value for value in held if value != USUAL_IGNORE]
    if USUAL_IGNORE not in held or len(rest) < 2 or max(rest) > USUAL_IGNORE:
        return None
    gaps = np.diff([*rest, USUAL_IGNORE])
    return None if gaps.max() <= _SPREAD * gaps.min() else USUAL_IGNORE


def _background(names: Mapping[int, str], known: Metadata | None) -> str | None:
    if known is not None:
        return None if known.classes.background_id is None else known.classes.names[known.classes.background_id]
    return names.get(0)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
