"""Outlines of objects as other tools write them, before they are drawn as masks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segtool.data.layout import part_of
from segtool.errors import DataError

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Shape:
    """An object: the polygons (x, y) in pixels that it has, or the lengths of its runs down the columns."""

    name: str
    polygons: Sequence[Points]
    runs: Sequence[int] = ()


@dataclass(frozen=True)
class Drawing:
    """An image with its objects, in the order in which they are drawn.

    Attributes
    ----------
    part, name
        "train", "val", "test" or empty; and its path in that part.
    image
        The file.
    size
        (height, width) that the annotation says the image has; None where it does not say.
    shapes
        The objects.
    shares
        Whether their points are fractions of the image's width and height, not pixels.
    """

    part: str
    name: str
    image: Path
    size: tuple[int, int] | None
    shapes: Sequence[Shape]
    shares: bool = False


@dataclass(frozen=True)
class Outlines:
    """Annotations of a folder: their form, the classes in their order, the images, and the shapes without an area.

    These last are left out: for each type ("line") the file of each such shape.
    """

    form: str
    names: Sequence[str]
    drawings: Sequence[Drawing]
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files below a folder that end with a suffix, in order, without hidden ones."""
    hidden = (path for path in sorted(folder.rglob(f"*{suffix}")) if path.is_file())
    return (path for path in hidden if not any(name.startswith(".") for name in path.relative_to(folder).parts))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raise DataError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON that can be read ({error}); export it again or remove it.") from error


def part_in(path: Path, folder: Path) -> str:
    """Return the part that an annotation file is of, by its name or its folder's: instances_train2017, valid/."""
    words = [word for name in path.relative_to(folder).with_suffix("").parts for word in re.split(r"[\W_\d]+", name)]
    return next((part for word in words if (part := part_of(word))), "")


def points_of(numbers: Sequence[float]) -> Points:
    """Return x y x y ... as points; raise DataError where they are no outline."""
    if len(numbers) % 2 or len(numbers) < 6:
        raise DataError(f"An outline has {len(numbers)} numbers, expected x y x y ..., of 3 points or more; remove it.")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
