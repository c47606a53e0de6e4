"""Names, colours and values of classes in the files that other tools write beside images and masks.

===============================  =================================================
labelmap.txt                     Pascal VOC, CVAT: ``name:r,g,b:parts:actions``
class_dict.csv                   CamVid, DeepGlobe: columns name, r, g, b; or name, color (#rrggbb)
label_colors.txt                 CamVid: ``r g b name``
_classes.csv                     Roboflow: columns pixel value, class
classes.txt, class_names.txt,    a name on each line, whose value is its position
codes.txt
===============================  =================================================
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from segtool.data.metadata import FILE_NAME
from segtool.errors import reason_of
from segtool.text import counted, decoded

logger = logging.getLogger(__name__)
Entries = list[dict[str, Any]]
"""Classes, each with its "name", and with "color" ([r, g, b]) or "value" where the file says that."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_COMMENT = re.compile(rf"#(?!{_HEX.pattern[1:]}\b)")
_COLUMNS = {
    "name": ("name", "class", "class name", "label"),
    "color": ("color", "colour", "rgb", "hex"),
    "value": ("pixel value", "value", "id"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}
"""What the columns of a table are called, in small letters."""


class _LineError(ValueError):
    """A line that is no class; the error's text is the line."""


def read_class_list(path: Path) -> Entries | None:
    """Return the classes of a file; None, with a warning, where it is not of the form that its name says."""
    parse, form = _FORMATS[path.name]
    lines: list[str] = []
    try:
        lines = decoded(path.read_bytes()).splitlines()
        found = parse([line for line in map(str.strip, lines) if line and not _COMMENT.match(line)])
    except _LineError as error:
        number = next(number for number, line in enumerate(lines, start=1) if line.strip() == str(error))
        why = f"line {number} ({str(error)[:60]!r}) is no class, expected {form}"
    except (OSError, csv.Error) as error:
        why = f"it cannot be read ({reason_of(error)})"
    else:
        if len(found) > 1:
            return found
        why = f"it lists {counted(len(found), 'name')}, expected two classes or more, as {form}"
    logger.warning("%s is left out: %s; correct it, or write a %s.", path, why, FILE_NAME)
    return None


def _label_map(lines: Sequence[str]) -> Entries:
    fields = [[*map(str.strip, line.split(":")), ""] for line in lines]
    if not all(one[1] for one in fields):
        return _names([one[0] for one in fields])
    return [{"name": one[0], "color": _color(one[1], line)} for one, line in zip(fields, lines, strict=True)]


def _label_colors(lines: Sequence[str]) -> Entries:
    fields = [[*line.split(maxsplit=3), "", "", "", ""] for line in lines]
    return [
        {"name": one[3].strip() or _refused(line), "color": _color(" ".join(one[:3]), line)}
        for one, line in zip(fields, lines, strict=True)
    ]


def _class_table(lines: Sequence[str]) -> Entries:
    """Return the rows of a CSV file: name, and r, g, b or color or pixel value; columns without a header by content."""
    separator = max(",;\t", key="".join(lines[:1]).count)
    rows = [[cell.strip() for cell in next(csv.reader([line], delimiter=separator))] for line in lines]
    header = [cell.casefold() for cell in rows[0]] if rows else []
    first = 0 if any(map(_is_number, header)) else 1
    columns = header if first else _columns_of(header)
    found = []
    for row, line in zip(rows[first:], lines[first:], strict=True):
        cells = dict(zip(columns, row, strict=False))
        name, color, value, *parts = (
            next((cells[called] for called in names if cells.get(called)), "") for names in _COLUMNS.values()
        )
        color = color or " ".join(filter(None, parts))
        if not name or not (color or value.isdigit()):
            _refused(line)
        found.append({"name": name, **({"color": _color(color, line)} if color else {"value": int(value)})})
    return found


def _columns_of(row: Sequence[str]) -> list[str]:
    """Return what the columns of a table without a header are, by its first row."""
    numbers = [place for place, cell in enumerate(row) if cell.isdigit()]
    called = dict(zip(numbers, {3: ["r", "g", "b"], 1: ["value"]}.get(len(numbers), []), strict=False))
    called |= {place: "color" for place, cell in enumerate(row) if place not in numbers and _is_number(cell)}
    return [called.get(place, "" if place in numbers else "name") for place in range(len(row))]


def _names(lines: Sequence[str]) -> Entries:
    """Return the classes of a list of names; labelme's begins with __ignore__, which has no value."""
    return [{"name": line} for line in lines if line != "__ignore__"]


def _is_number(cell: str) -> bool:
    return cell.isdigit() or _HEX.fullmatch(cell) is not None


def _color(text: str, line: str) -> list[int]:
    """Return the colour in `text`, a part of `line`: #rrggbb, or three numbers."""
    if _HEX.fullmatch(text):
        return [*bytes.fromhex(text[1:])]
    parts = [part for part in re.split(r"[,\s]+", text.strip("()[] ")) if part]
    return [int(part) for part in parts] if len(parts) == 3 and all(map(str.isdigit, parts)) else _refused(line)


def _refused(line: str) -> NoReturn:
    raise _LineError(line)


_TABLE = "a row such as road,128,64,128 or road,#804080 or 7,road, below a header such as name,r,g,b"
_FORMATS: dict[str, tuple[Callable[[Sequence[str]], Entries], str]] = {
    "labelmap.txt": (_label_map, "a line such as road:128,64,128::"),
    "class_dict.csv": (_class_table, _TABLE),
    "label_colors.txt": (_label_colors, "a line such as 128 64 128 road"),
    "_classes.csv": (_class_table, _TABLE),
    **dict.fromkeys(("classes.txt", "class_names.txt", "codes.txt"), (_names, "a name on each line")),
}

CLASS_LISTS = tuple(_FORMATS)
"""What such files are called, in the order in which they are looked for."""
