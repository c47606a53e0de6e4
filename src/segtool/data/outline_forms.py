"""Which form of outlines a folder has in place of masks: LabelMe, COCO or YOLO."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from segtool.data.coco import read_coco
from segtool.data.labelme import read_labelme
from segtool.data.layout import find_places
from segtool.data.outlines import Outlines
from segtool.data.problem import Problem
from segtool.data.yolo import has_lines, has_outlines, read_yolo
from segtool.errors import DataError

_LOOKED_AT = 20  # files of a kind, to see what is in them


def form_of(folder: Path) -> str | None:
    """Return in which form a folder has outlines, "LabelMe", "COCO" or "YOLO"; None where it has none."""
    for path in islice(_near(folder, ".json"), _LOOKED_AT):
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            keys = set(re.findall(r'"(\w+)"\s*:', stream.read(1 << 20)))
        if "shapes" in keys and keys & {"imagePath", "imageData", "imageHeight"}:
            return "LabelMe"
        if "categories" in keys or {"annotations", "images"} <= keys:
            return "COCO"
    return "YOLO" if any(has_lines(path) for path in _label_files(folder)) else None


def outlines_problem(folder: Path) -> Problem | None:
    """Return the message for a folder that has outlines in place of masks; None where it has none."""
    form = form_of(folder)
    if form is None:
        return None
    if form == "YOLO" and not any(has_outlines(path) for path in _label_files(folder)):
        message = (
            f"{folder} has the boxes of objects in the form of YOLO, expected masks as images; boxes have no outlines, "
            "from which masks could be drawn: annotate outlines or masks."
        )
        return Problem("missing", str(folder), message)
    command = f"segtool data convert {shlex.quote(str(folder))} {shlex.quote(f'{folder.name or folder}-masks')}"
    message = (
        f"{folder} has the outlines of objects in the form of {form}, expected masks as images; draw them with "
        f"`{command}`."
    )
    return Problem("missing", str(folder), message, command=command)


def read_outlines(folder: Path) -> Outlines:
    """Read the outlines of a folder.

    Raises
    ------
    DataError
        It has none in a form that is known, or they cannot be read.
    """
    form = form_of(folder) if folder.is_dir() else None
    if form is None:
        raise DataError(
            f"{folder} has no outlines that are known, expected LabelMe's .json files beside images, COCO's .json, or "
            "YOLO's labels/ beside images/; name the folder that holds both images and annotations."
        )
    try:
        found = {"LabelMe": read_labelme, "COCO": read_coco, "YOLO": read_yolo}[form](folder)
    except KeyError as error:
        raise DataError(
            f"The {form} annotations of {folder} have an entry without {error}, expected outlines of objects; export "
            "them again with outlines."
        ) from error
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f"The {form} annotations of {folder} have an entry that is no outline ({error}); export them again."
        ) from error
    if not any(drawing.shapes for drawing in found.drawings):
        raise DataError(f"The {form} annotations of {folder} hold no outline of an image that is there; look at both.")
    return found


def _label_files(folder: Path) -> list[Path]:
    return [path for place in find_places(folder) for path in islice(_near(place.masks, ".txt"), _LOOKED_AT)]


def _near(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield files of a folder and two levels below, not of all of a disk."""
    for pattern in ("*", "*/*", "*/*/*"):
        yield from (path for path in folder.glob(pattern + suffix) if path.is_file())
