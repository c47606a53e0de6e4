"""Classes of a folder's masks by its dataset.json, or by a file of another tool that lists them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtool.data.class_list_formats import CLASS_LISTS, Entries, read_class_list
from segtool.data.classes import USUAL_IGNORE, is_background
from segtool.data.headers import read_header
from segtool.data.layout import find_places
from segtool.data.metadata import FILE_NAME, Metadata, parse_description, read_metadata
from segtool.errors import DataError

logger = logging.getLogger(__name__)
_IGNORED = ("void", "ignore", "ignored")
_TRIMAPS = [{"name": "pet", "value": 1}, {"name": "background", "value": 2}, {"name": "border", "value": 3}]
"""What the masks of the Oxford pets hold: annotations/trimaps/."""


@dataclass(frozen=True)
class ClassList:
    """The classes that a file lists."""

    file: Path
    classes: Entries

    def metadata(self, folder: Path, held: Iterable[int], *, grey: bool) -> Metadata | None:
        """Return how the masks of a folder are read by the list; None where it does not fit them.

        The arguments are those of `description`.
        """
        found = self.description(held, grey=grey)
        if found is None:
            return None
        metadata = parse_description(found, self.file)
        return replace(metadata, encoding=replace(metadata.encoding, described_in=str(folder / FILE_NAME)))

    def description(self, held: Iterable[int], *, grey: bool) -> dict[str, Any] | None:
        """Return the dataset.json that says the same; None where it does not fit the masks.

        `held` are the values that the masks hold, for a file that gives names alone. In `grey` masks colours of the
        file say nothing.
        """
        for key in ("value", "color"):
            if all(key in entry for entry in self.classes) and not (grey and key == "color"):
                return _description(self.classes, key)
        return self._by_position(sorted(held))

    def _by_position(self, held: Sequence[int]) -> dict[str, Any] | None:
        names = [entry["name"] for entry in self.classes]
        if held == [0, USUAL_IGNORE] and len(names) == 2:
            return _description(_valued(names, held))
        ids = [value for value in held if value != USUAL_IGNORE or value < len(names)]
        if ids and ids[-1] == len(names) and ids[0] == 0 and not any(map(is_background, names)):
            names = ["background", *names]
        if not ids or ids[-1] >= len(names) or ids[0] < 0:
            logger.warning(
                "%s names %d classes and the masks hold the values %s: the names are not used.",
                self.file,
                len(names),
                ", ".join(map(str, held[:8])) + (", ..." if len(held) > 8 else ""),
            )
            return None
        return _description(_valued(names, range(len(names))), ignored=USUAL_IGNORE if len(ids) < len(held) else None)


def folder_metadata(folder: Path, masks: Sequence[Path]) -> Metadata | ClassList | None:
    """Return what describes a folder's masks: its dataset.json, else a file of another tool.

    It is a list where that says something only beside the values that the masks hold. Raise a DataError if the
    description cannot be read or contradicts itself.
    """
    if (folder / FILE_NAME).is_file():
        return read_metadata(folder / FILE_NAME)
    found = find_class_list(folder)
    if found is None or not masks or not {"color", "value"} & found.classes[0].keys():
        return found
    if "color" in found.classes[0] and _is_grey(masks[0]):
        return found
    return found.metadata(folder, (), grey=False)


def class_list_files(folder: Path) -> list[Path]:
    """Return the files that list classes in a folder, or in one of its folders of images and masks."""
    places = find_places(folder)
    beside = [one for place in places for one in (place.images.parent, place.masks.parent, place.images, place.masks)]
    return [at / name for name in CLASS_LISTS for at in dict.fromkeys((folder, *beside)) if (at / name).is_file()]


def find_class_list(folder: Path) -> ClassList | None:
    """Return the classes that a file in a folder, or in one of its folders of images and masks, lists.

    Raise a DataError if two such files of the same name list other classes.
    """
    files = class_list_files(folder)
    for name in CLASS_LISTS:
        lists = [(path, read_class_list(path)) for path in files if path.name == name]
        found = [ClassList(path, classes) for path, classes in lists if classes is not None]
        for other in found[1:]:
            if other.classes != found[0].classes:
                raise DataError(
                    f"{found[0].file} and {other.file} list other classes, expected the same; write the classes into a "
                    f"{FILE_NAME}, which goes before them."
                )
        if found:
            return found[0]
    trimaps = [place.masks for place in find_places(folder) if place.masks.name.casefold() == "trimaps"]
    return ClassList(trimaps[0], _TRIMAPS) if trimaps else None


def _is_grey(mask: Path) -> bool:
    try:
        return read_header(mask).grey
    except DataError:
        return False  # named where it is read


def _valued(names: Sequence[str], values: Sequence[int]) -> Entries:
    return [{"name": name, "value": value} for name, value in zip(names, values, strict=True)]


def _description(
    classes: Sequence[Mapping[str, Any]], key: str = "value", ignored: int | None = None
) -> dict[str, Any]:
    """Return a description of classes, of which one called void is ignored unless something else is."""
    void = [entry for entry in classes if entry["name"].casefold() in _IGNORED]
    if len(void) == 1 and ignored is None and len(classes) > 2:
        classes = [entry for entry in classes if entry is not void[0]]
        ignored = void[0][key]
        logger.warning("The class %r is taken as what to ignore; a dataset.json can say otherwise.", void[0]["name"])
    background = next((entry["name"] for entry in classes if is_background(entry["name"])), None)
    ignore_key = "ignore_color" if key == "color" else "ignore_id"
    return {"classes": [dict(entry) for entry in classes], "background": background, ignore_key: ignored}
