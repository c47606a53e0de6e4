"""Folders with images that are not read, or not as what they are: which, and how they would be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from segtool.data.layout import (
    IMAGES,
    MASKS,
    WEAK,
    Place,
    folders_in,
    image_files,
    part_of,
    pool_in,
    role_of,
    spelling_of,
)
from segtool.data.problem import Problem
from segtool.text import some

_MOST_FOLDERS = 50  # of a wrong folder, in which images are looked for


def not_read(folder: Path, places: Sequence[Place]) -> list[Problem]:
    """Return a warning on folders that are called as parts, images or masks, or hold both, and are not read."""
    folders = _left_out(folder, places)
    if not folders:
        return []
    pairs = list(dict.fromkeys((place.images, place.masks) for place in places))
    read = ", ".join(f"{images.relative_to(folder)}/ with {masks.relative_to(folder)}/" for images, masks in pairs[:3])
    names = some([f"{path.relative_to(folder)}/" for path in folders])
    message = (
        f"{folder} has folders with images that are not read: {names}; read are {read}"
        f"{', ...' if len(pairs) > 3 else ''}. Where they belong to the data set, put all parts into one arrangement, "
        "such as train/images/ and val/images/; where others are right, move these elsewhere."
    )
    return [Problem("unread", str(folder), message, warning=True)]


def spelled_twice(places: Sequence[Place]) -> list[Problem]:
    """Return the folders that are the same part as others."""
    parts = [(place.part, place.above) for place in places]
    return [
        Problem(
            "ambiguous",
            str(place.images),
            f"{places[parts.index((place.part, place.above))].images} and {place.images} are both the part "
            f"{place.part!r}, expected one; merge or remove one of them.",
        )
        for index, place in enumerate(places)
        if (place.part, place.above) in parts[:index] and place.names is None
    ]


def unknown_folders(place: Place) -> Problem | None:
    """Return that the images or the masks may be in a folder of another name, where one of the two is not there."""
    lacking = next((at for at in (place.images, place.masks) if not at.is_dir()), None)
    if lacking is None or not (sentence := renaming(lacking.parent)):
        return None
    return Problem("missing", str(lacking.parent), sentence)


def renaming(folder: Path) -> str:
    """Return which folders with images there are, and which are to be renamed; empty where all names are known."""
    entries = [entry for entry in folders_in(folder)[:_MOST_FOLDERS] if next(image_files(entry), None)]
    unknown = [f"{entry.name}/" for entry in entries if not role_of(entry.name) and not spelling_of(entry.name)[0]]
    known = {role: f"{entry.name}/" for entry in entries if (role := role_of(entry.name))}
    if not unknown or len(known) == 2:
        return ""
    held = "".join(f"{name} holds {role}, and " for role, name in known.items())
    lacking = [role for role in ("images", "masks") if role not in known]
    advice = " and ".join(f"that of the {role} to {role}/" for role in lacking)
    names = "; ".join(f"{role}: {', '.join(IMAGES if role == 'images' else MASKS)}" for role in lacking)
    return (
        f"In {folder} {held}the names of these folders with images are not known: {some(unknown)}; rename {advice} "
        f"(in use are, in any case and with any signs between words, for {names})."
    )


def _left_out(folder: Path, places: Iterable[Place]) -> list[Path]:
    """Return such folders in the folder, or beside the images of a part."""
    read = {path for place in places for path in (place.images, place.masks)}
    above = {folder, *(place.parent for place in read if folder in place.parents)}
    return [
        entry
        for base in sorted(above)
        for entry in folders_in(base)
        if not any(entry.is_relative_to(path) or path.is_relative_to(entry) for path in read)
        and (part_of(entry.name) or (role_of(entry.name) and entry.name.casefold() not in WEAK) or pool_in(entry))
        and next(image_files(entry), None)
    ]
