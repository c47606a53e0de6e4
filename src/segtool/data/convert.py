"""Outlines in place of masks: which form a folder has, and drawing them as masks in a folder that segtool reads."""

from __future__ import annotations

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from segtool.array_types import IntegerArray
from segtool.data.base import Size, show_size
from segtool.data.headers import read_header
from segtool.data.layout import find_places
from segtool.data.metadata import FILE_NAME
from segtool.data.outline_readers import Drawing, Outlines, Shape, read_coco, read_labelme, read_yolo
from segtool.data.problem import Problem
from segtool.errors import DataError, OutputExistsError
from segtool.files import write_json, write_with

_LOOKED_AT = 20  # files of a kind, to see what is in them
_MOST = 255  # classes beside the background, in masks of 8 bits
_BACKGROUND = "background"
_READERS = {"LabelMe": read_labelme, "COCO": read_coco, "YOLO": read_yolo}


def form_of(folder: Path) -> str | None:
    """Return in which form a folder has outlines, "LabelMe", "COCO" or "YOLO"; None where it has none."""
    for path in islice(_near(folder, ".json"), _LOOKED_AT):
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            keys = set(re.findall(r'"(\w+)"\s*:', stream.read(1 << 20)))
        if "shapes" in keys and keys & {"imagePath", "imageData", "imageHeight"}:
            return "LabelMe"
        if "categories" in keys or {"annotations", "images"} <= keys:
            return "COCO"
    return "YOLO" if any(_has_lines(path) for path in _label_files(folder)) else None


def outlines_problem(folder: Path) -> Problem | None:
    """Return the message for a folder that has outlines in place of masks; None where it has none."""
    form = form_of(folder)
    if form is None:
        return None
    if form == "YOLO" and not any(_has_lines(path, least=6) for path in _label_files(folder)):
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


def convert(source: Path, out: Path) -> Outlines:
    """Write the images of a folder with outlines, and masks of them, to a new folder; return what was drawn.

    What no outline covers is background; lines and points are left out. Later outlines lie on earlier ones: those of
    COCO are drawn by falling area.

    Raise a DataError if there are no outlines that can be read or one does not fit its image, and an
    OutputExistsError if `out` has something in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(f"{out} has something in it already and is left as it is; name a new folder.")
    found = read_outlines(source)
    names = [_BACKGROUND, *(name for name in found.names if name.casefold().strip("_ ") != _BACKGROUND)]
    if len(names) - 1 > _MOST:
        raise DataError(f"{source} has {len(names) - 1} classes, expected {_MOST} at most; convert a part of them.")
    value_of = {name: names.index(name) if name in names else 0 for name in found.names}
    count = Counter((drawing.part, drawing.name) for drawing in found.drawings)
    if twice := next((key for key, number in count.items() if number > 1), None):
        raise DataError(f"The image {'/'.join(filter(None, twice))} is annotated twice; keep one of the annotations.")
    for drawing in found.drawings:
        _write(drawing, draw(drawing, value_of), out)
    write_json(out / FILE_NAME, {"classes": names, _BACKGROUND: _BACKGROUND})
    return found


def read_outlines(folder: Path) -> Outlines:
    """Read the outlines of a folder; raise a DataError if it has none in a known form, or they cannot be read."""
    form = form_of(folder) if folder.is_dir() else None
    if form is None:
        raise DataError(
            f"{folder} has no outlines that are known, expected LabelMe's .json files beside images, COCO's .json, or "
            "YOLO's labels/ beside images/; name the folder that holds both images and annotations."
        )
    try:
        found = _READERS[form](folder)
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


def draw(drawing: Drawing, value_of: Mapping[str, int]) -> IntegerArray:
    """Return the mask of an image, uint8 (H, W): the value of the last shape at each pixel, 0 where there is none.

    Raise a DataError if the image cannot be read, or has another size than the annotation says.
    """
    size = read_header(drawing.image).size
    if drawing.size is not None and drawing.size != size:
        raise DataError(
            f"The image {drawing.image} is {show_size(size)} and its annotation is for {show_size(drawing.size)} "
            "(height x width), expected the same size; export the annotations again for this image."
        )
    canvas = Image.new("L", (size[1], size[0]))
    for shape in drawing.shapes:
        value = value_of[shape.name]
        if shape.runs:
            canvas.paste(value, mask=Image.fromarray(_covered(shape, size, drawing) * np.uint8(255)))
        for polygon in shape.polygons:
            if not np.isfinite(polygon).all():
                raise DataError(f"An outline of {drawing.image} has a point that is no number; draw it again.")
            ImageDraw.Draw(canvas).polygon(polygon, fill=value, outline=value)
    return np.asarray(canvas)


def _covered(shape: Shape, size: Size, drawing: Drawing) -> IntegerArray:
    """Return what runs cover, uint8 (H, W) of 0 and 1: they go down the columns and begin outside."""
    runs = np.array(shape.runs, np.int64)
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise DataError(f"The run lengths of a {shape.name!r} do not fit {drawing.image}; export polygons.")
    covered = np.repeat(np.arange(len(runs), dtype=np.int64) % 2, runs).astype(np.uint8)
    return np.ascontiguousarray(covered.reshape(size[1], size[0]).T)


def _write(drawing: Drawing, mask: IntegerArray, out: Path) -> None:
    """Copy an image and write its mask; a name cannot lead out of the folder."""
    name = PurePosixPath(*(part for part in PurePosixPath(drawing.name).parts if part not in ("..", "/")))
    image, target = (out / drawing.part / kind / name.parent for kind in ("images", "masks"))
    for folder in (image, target):
        folder.mkdir(parents=True, exist_ok=True)
    write_with(image / f"{name.name}{drawing.image.suffix}", lambda path: shutil.copyfile(drawing.image, path))
    write_with(target / f"{name.name}.png", lambda path: Image.fromarray(mask).save(path, "PNG"))


def _has_lines(path: Path, *, least: int = 4) -> bool:
    """Return whether the first line of a text file is a class and `least` numbers or more, as YOLO writes them."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        line = stream.readline(100_000).strip()
    return re.match(rf"\d+(\s+\d*\.?\d+(e-?\d+)?){{{least},}}$", line) is not None


def _label_files(folder: Path) -> list[Path]:
    return [path for place in find_places(folder) for path in islice(_near(place.masks, ".txt"), _LOOKED_AT)]


def _near(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield files of a folder and two levels below, not of all of a disk."""
    for pattern in ("*", "*/*", "*/*/*"):
        yield from (path for path in folder.glob(pattern + suffix) if path.is_file())
