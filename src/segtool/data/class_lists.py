"""Classes of masks by the files that other tools write beside images and masks, and by their values."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtool.data.class_list_files import CLASS_LISTS, read_class_list
from segtool.data.classes import USUAL_IGNORE, is_background
from segtool.data.layout import find_places
from segtool.data.metadata import FILE_NAME, Metadata, parse_description, read_metadata
from segtool.errors import DataError
from segtool.images.decoding import MAX_PIXELS, decoding, open_checked, opened

logger = logging.getLogger(__name__)
_IGNORED = ("void", "ignore", "ignored")
_TRIMAPS = [{"name": "pet", "value": 1}, {"name": "background", "value": 2}, {"name": "border", "value": 3}]
"""What the masks of the Oxford pets hold: annotations/trimaps/."""


@dataclass(frozen=True)
class ClassList:
    """The classes that a file lists.

    Attributes
    ----------
    file
        Where they were read.
    classes
        Each with its name, and with "color" or "value" where the file says that.
    """

    file: Path
    classes: Sequence[Mapping[str, Any]]

    def description(self, held: Iterable[int], *, grey: bool) -> dict[str, Any] | None:
        """Return the dataset.json that says the same; None where it does not fit the masks.

        Parameters
        ----------
        held
            The values that the masks hold; looked at where the file gives names alone.
        grey
            Whether the masks are grey, so that colours in the file say nothing of them.
        """
        if all("color" in entry for entry in self.classes) and not grey:
            return _ignoring(self.classes, "ignore_color", "color", None)
        if all("value" in entry for entry in self.classes):
            return _ignoring(self.classes, "ignore_id", "value", None)
        return self._by_position(sorted(held))

    def _by_position(self, held: Sequence[int]) -> dict[str, Any] | None:
        names = [entry["name"] for entry in self.classes]
        ids = [value for value in held if value != USUAL_IGNORE or value < len(names)]
        if held == [0, USUAL_IGNORE] and len(names) == 2:
            return _ignoring(
                [_of(name, value) for name, value in zip(names, held, strict=True)], "ignore_id", "value", None
            )
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
        ignored = USUAL_IGNORE if len(ids) < len(held) else None
        return _ignoring([_of(name, value) for value, name in enumerate(names)], "ignore_id", "value", ignored)


def folder_metadata(folder: Path, masks: Sequence[Path]) -> Metadata | None:
    """Return what describes a folder's masks: its dataset.json, else a file of another tool that needs no look at them.

    Raises
    ------
    DataError
        The description cannot be read or contradicts itself.
    """
    if (folder / FILE_NAME).is_file():
        return read_metadata(folder / FILE_NAME)
    found = find_class_list(folder)
    if found is None or not masks or not {"color", "value"} & found.classes[0].keys():
        return None
    grey = "color" in found.classes[0] and is_grey(masks[0])
    return None if grey else _metadata(folder, found, found.description((), grey=False))


def named_by_position(folder: Path, held: Iterable[int]) -> Metadata | None:
    """Return the classes of masks that hold the values `held`, from a file that lists the names in their order.

    What is wrong with such a file `folder_metadata` says, which comes before.
    """
    found = find_class_list(folder, quietly=True)
    return None if found is None else _metadata(folder, found, found.description(held, grey=True))


def class_list_files(folder: Path) -> list[Path]:
    """Return the files that list classes in a folder, or in one of its folders of images and masks."""
    places = find_places(folder)
    beside = [one for place in places for one in (place.images.parent, place.masks.parent, place.images, place.masks)]
    return [at / name for name in CLASS_LISTS for at in dict.fromkeys((folder, *beside)) if (at / name).is_file()]


def find_class_list(folder: Path, *, quietly: bool = False) -> ClassList | None:
    """Return the classes that a file in a folder, or in one of its folders of images and masks, lists.

    Raises
    ------
    DataError
        Two such files of the same name list other classes.
    """
    files = class_list_files(folder)
    for name in CLASS_LISTS:
        lists = [(path, read_class_list(path, quietly=quietly)) for path in files if path.name == name]
        found = [ClassList(path, classes) for path, classes in lists if classes is not None]
        for other in found[1:]:
            if other.classes != found[0].classes:
                raise DataError(
                    f"{found[0].file} and {other.file} list other classes, expected the same; write the classes into a "
                    f"{FILE_NAME}, which goes before them."
                )
        if found:
            return found[0]
    places = find_places(folder)
    if any(place.masks.name.casefold() == "trimaps" for place in places):
        return ClassList(next(place.masks for place in places), _TRIMAPS)
    return None


def is_grey(mask: Path) -> bool:
    """Return whether a mask has one channel and no palette; False where it cannot be read (reported later)."""
    try:
        with opened(mask) as stream, decoding(str(mask)):
            return open_checked(stream, str(mask), MAX_PIXELS).mode in ("1", "L", "I", "I;16", "I;16B", "I;16L")
    except DataError:
        return False


def _metadata(folder: Path, found: ClassList, description: dict[str, Any] | None) -> Metadata | None:
    if description is None:
        return None
    metadata = parse_description(description, found.file)
    return replace(metadata, encoding=replace(metadata.encoding, described_in=str(folder / FILE_NAME)))


def _of(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "value": value}


def _ignoring(classes: Sequence[Mapping[str, Any]], ignore_key: str, key: str, ignored: int | None) -> dict[str, Any]:
    """Return a description of classes, of which one called void is ignored unless something else is."""
    void = [entry for entry in classes if entry["name"].casefold() in _IGNORED]
    if len(void) == 1 and ignored is None and len(classes) > 2:
        classes = [entry for entry in classes if entry is not void[0]]
        ignored = void[0][key]
        logger.warning("The class %r is taken as what to ignore; a dataset.json can say otherwise.", void[0]["name"])
    background = next((entry["name"] for entry in classes if is_background(entry["name"])), None)
    return {"classes": [dict(entry) for entry in classes], "background": background, ignore_key: ignored}
