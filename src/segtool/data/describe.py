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

from segtool.data.class_lists import find_class_list, folder_metadata
from segtool.data.classes import pack_colors, unpack_color
from segtool.data.file_faults import file_problems
from segtool.data.folder import survey_folder
from segtool.data.header_faults import read_headers
from segtool.data.inferred_classes import UndescribedError, usually_ignored
from segtool.data.layout import find_places
from segtool.data.listing import list_samples
from segtool.data.listing_faults import renaming
from segtool.data.mask_files import ColorMaskError, read_raw_mask, survey_masks
from segtool.data.metadata import FILE_NAME, Metadata
from segtool.data.problem import refuse
from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes
from segtool.text import counted

logger = logging.getLogger(__name__)
_VOC_BORDER = 0xE0E0C0  # the colour of Pascal VOC around objects, which is ignored in scores
_MOST = 256  # values or colours: more are no classes


@dataclass(frozen=True)
class Proposal:
    """A description of masks."""

    description: Mapping[str, Any]  # the dataset.json; each class has a "share" of all pixels, for the reader
    ignored_share: float  # of all pixels
    masks: int  # how many were looked at

    def text(self) -> str:
        """Return the file's text, with a line for each class."""
        lines = [f"    {_json(entry)}" for entry in self.description["classes"]]
        rest = [f"  {_json(key)}: {_json(value)}" for key, value in self.description.items() if key != "classes"]
        return "{\n" + ",\n".join(['  "classes": [\n' + ",\n".join(lines) + "\n  ]", *rest]) + "\n}\n"


def write_proposal(folder: Path, *, overwrite: bool = False) -> Proposal:
    """Write the dataset.json that the masks of a folder need; errors are those of `propose` and `segtool.files`.

    What a dataset.json that is replaced, or a list of another tool, says of classes is kept.
    """
    target = refuse_existing(folder / FILE_NAME, overwrite=overwrite)
    found = propose(folder)
    write_bytes(target, found.text().encode())
    return found


def propose(folder: Path) -> Proposal:
    """Describe the masks of a folder as they are read without a description.

    Raise a DataError if it is no folder of images and masks, or its masks cannot be read or hold no classes.
    """
    if not folder.is_dir() or not find_places(folder):
        raise DataError(
            f"{folder} is no folder of images and masks, expected one such as images/ beside masks/; "
            f"{renaming(folder) or 'name that folder.'}"
        )
    listing = list_samples(folder)
    masks = [sample.mask for sample in listing.samples]
    if not masks:
        refuse(listing.problems, spec=str(folder))
    for problem in listing.problems:
        logger.warning(problem.message)
    refuse(file_problems(folder, [read_headers(sample) for sample in listing.samples]), spec=str(folder))
    pixels, known, colors = _held(folder, masks)
    if len(pixels) > _MOST:
        raise DataError(
            f"The masks of {folder} hold {len(pixels):,} {'colours' if colors else 'values'}, expected one for each "
            f"class, {_MOST} at most; write masks without soft edges, as PNG."
        )
    return _described(pixels, known, colors=colors, masks=len(masks))


def _held(folder: Path, masks: Sequence[Path]) -> tuple[Counter[int], Metadata | None, bool]:
    """Return the pixels of each value or packed colour, what describes these so far, and whether they are colours."""
    try:
        known = folder_metadata(folder, masks)
    except DataError as error:
        logger.warning("Nothing is kept of what describes the masks so far: %s", error)
        known = find_class_list(folder)
    if isinstance(known, Metadata):
        colors = known.encoding.colors
        return _colors(masks) if colors else survey_masks(masks).pixels, known, colors
    try:
        held, known = survey_folder(folder, masks, known)
    except (ColorMaskError, UndescribedError):
        return _colors(masks), None, True
    return held.pixels, known, False


def _colors(masks: Sequence[Path]) -> Counter[int]:
    """Return the pixels of each packed colour."""
    pixels: Counter[int] = Counter()
    for path in masks:
        colors, numbers = np.unique(pack_colors(read_raw_mask(path, colors=True)), return_counts=True)
        pixels.update(dict(zip(colors.tolist(), numbers.tolist(), strict=True)))
    return pixels


def _described(pixels: Counter[int], known: Metadata | None, *, colors: bool, masks: int) -> Proposal:
    names, ignored = _names(sorted(pixels), known, colors=colors)
    keys: dict[str, list[int]] = {}
    for value, name in names.items():
        keys.setdefault(name, []).append(value)
    if len(keys) < 2:
        raise DataError(
            f"{counted(masks, 'mask')} hold one value in all pixels that count, expected two classes or more; look "
            "whether the masks were written right."
        )
    total = pixels.total()
    key = "color" if colors else "value"
    classes = [
        {
            "name": name,
            key: list(unpack_color(values[0])) if colors else values[0] if len(values) == 1 else values,
            "share": float(f"{sum(pixels[value] for value in values) / total:.4g}"),
        }
        for name, values in keys.items()
    ]
    shown = None if ignored is None else list(unpack_color(ignored)) if colors else ignored
    description: dict[str, Any] = {
        "classes": classes,
        "background": known.classes.background if known else names.get(0),
    }
    description["ignore_color" if colors else "ignore_id"] = shown
    if known is not None:
        kept = {"channels": known.channels, "provenance": dict(known.provenance)}
        description |= {key: value for key, value in kept.items() if value}
    return Proposal(description, pixels[ignored] / total if ignored is not None else 0.0, masks)


def _names(held: Sequence[int], known: Metadata | None, *, colors: bool) -> tuple[dict[int, str], int | None]:
    """Return the name of each value or packed colour that is a class, and what is ignored."""
    names: dict[int, str] = {}
    ignored = None
    if known is not None:
        keys = zip(known.encoding.keys.tolist(), known.encoding.labels.tolist(), strict=True)
        for key, label in sorted(keys, key=lambda pair: pair[1]):
            if label == known.classes.ignore_id:
                ignored = key
            else:
                names[key] = known.classes.names[label]
    elif not colors:
        ignored = usually_ignored(list(held))
    if colors and ignored is None and _VOC_BORDER in held and _VOC_BORDER not in names:
        ignored = _VOC_BORDER
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


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
