"""YOLO's outlines: labels/ with a .txt for each image of images/, and the names of classes in data.yaml."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from segtool.data.layout import find_places, image_files
from segtool.data.outlines import Drawing, Outlines, Shape, points_of
from segtool.errors import DataError
from segtool.text import counted

_NAMES_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")


def read_yolo(folder: Path) -> Outlines:
    """Read the outlines of all images of a folder; an image without a text file has no object."""
    names = _names(folder)
    drawings: list[Drawing] = []
    for place in find_places(folder):
        for image in sorted(image_files(place.images)):
            stem = image.relative_to(place.images).with_suffix("")
            path = place.masks / stem.with_suffix(".txt") if stem.suffix == "" else place.masks / f"{stem}.txt"
            shapes = _shapes(path, names) if path.is_file() else []
            drawings.append(
                Drawing(place.part, (Path(place.above) / stem).as_posix(), image, None, shapes, shares=True)
            )
    return Outlines("YOLO", names, drawings)


def _shapes(path: Path, names: Sequence[str]) -> list[Shape]:
    shapes = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) == 5:
            raise DataError(f"{path} has boxes (class, x, y, width, height), expected outlines of 3 points or more.")
        try:
            number, outline = int(fields[0]), points_of([float(field) for field in fields[1:]])
        except ValueError as error:
            raise DataError(
                f"{path} has the line {line[:60]!r}, expected a class and x y x y ...; correct it."
            ) from error
        if not 0 <= number < len(names):
            raise DataError(f"{path} has the class {number}, expected one of {counted(len(names), 'name')}; add it.")
        shapes.append(Shape(names[number], [outline]))
    return shapes


def has_lines(path: Path, *, least: int = 4) -> bool:
    """Return whether the first line of a text file is a class and numbers, as YOLO writes them."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        line = stream.readline(100_000).strip()
    return re.match(rf"\d+(\s+\d*\.?\d+(e-?\d+)?){{{least},}}$", line) is not None


def has_outlines(path: Path) -> bool:
    """Return whether the first line has three points or more, and is no box."""
    return has_lines(path, least=6)


def _names(folder: Path) -> list[str]:
    """Return the names in data.yaml (a list, or numbers with names) or on the lines of classes.txt."""
    path = next((at / name for at in (folder, folder.parent) for name in _NAMES_FILES if (at / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} has no {' or '.join(_NAMES_FILES[:3])}, expected the names of the classes; add it.")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix != ".yaml":
        return [line.strip() for line in text.splitlines() if line.strip()]
    found = re.search(
        r"^names:[ \t]*(\[.*?\]|\{.*?\}|(?:\n[ \t]*(?:-|\d+:).*)+)", text, re.M | re.S if "[" in text else re.M
    )
    entries = (
        re.split(r"[\n,]" if found and found[1][:1] in "[{" else r"\n", found[1].strip("[]{} \n")) if found else []
    )
    names = [re.sub(r"^\s*(-\s+|\d+\s*:\s*)?", "", entry).split(" #")[0].strip().strip("'\"") for entry in entries]
    if not any(names):
        raise DataError(f"{path} has no list of names that can be read, expected names: [first, second]; write it so.")
    return [name for name in names if name]
