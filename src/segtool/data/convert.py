"""Outlines drawn as masks: from LabelMe, COCO and YOLO to a folder that segtool reads."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageDraw

from segtool.array_types import IntegerArray
from segtool.data.base import Size, show_size
from segtool.data.headers import read_header
from segtool.data.metadata import FILE_NAME
from segtool.data.outline_forms import read_outlines
from segtool.data.outlines import Drawing, Points, Shape
from segtool.errors import DataError, OutputExistsError
from segtool.files import write_json, write_with

_MOST = 255  # classes beside the background, in masks of 8 bits
_BACKGROUND = "background"


@dataclass(frozen=True)
class Converted:
    """What was written: the form of the outlines, images by part, and objects by class."""

    form: str
    images: Mapping[str, int]
    objects: Mapping[str, int]


def convert(source: Path, out: Path) -> Converted:
    """Write the images of a folder with outlines, and masks of them, to a new folder.

    What no outline covers is background. Later outlines lie on earlier ones: those of COCO are drawn by falling area.

    Raises
    ------
    DataError
        There are no outlines that can be read, or one does not fit its image.
    OutputExistsError, OutputWriteError
        `out` has something in it, or could not be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExistsError(f"{out} has something in it already and is left as it is; name a new folder.")
    found = read_outlines(source)
    names = [_BACKGROUND, *(name for name in found.names if name.casefold().strip("_ ") != _BACKGROUND)]
    if len(names) - 1 > _MOST:
        raise DataError(f"{source} has {len(names) - 1} classes, expected {_MOST} at most; convert a part of them.")
    value_of = {name: names.index(name) if name in names else 0 for name in found.names}
    _refuse_twice(found.drawings)
    objects: Counter[str] = Counter()
    for drawing in found.drawings:
        mask = draw(drawing, value_of)
        _write(drawing, mask, out)
        objects.update(shape.name for shape in drawing.shapes)
    write_json(out / FILE_NAME, {"classes": names, _BACKGROUND: _BACKGROUND})
    return Converted(found.form, Counter(drawing.part for drawing in found.drawings), objects)


def draw(drawing: Drawing, value_of: Mapping[str, int]) -> IntegerArray:
    """Return the mask of an image, uint8 (H, W): the value of the last shape at each pixel, 0 where there is none.

    Raises
    ------
    DataError
        The image cannot be read, or has another size than the annotation says.
    """
    size = read_header(drawing.image).size
    if drawing.size not in (None, size):
        raise DataError(
            f"The image {drawing.image} is {show_size(size)} and its annotation is for "
            f"{show_size(drawing.size or size)} (height x width), expected the same size; export the "
            "annotations again for this image."
        )
    canvas = Image.new("L", (size[1], size[0]))
    for shape in drawing.shapes:
        if shape.runs:
            covered = Image.fromarray(_mask_of_runs(shape, size, drawing) * np.uint8(255))
            canvas.paste(value_of[shape.name], mask=covered)
        for polygon in shape.polygons:
            if not np.isfinite(polygon).all():
                raise DataError(f"An outline of {drawing.image} has a point that is no number; draw it again.")
            points = _scaled(polygon, size) if drawing.shares else polygon
            ImageDraw.Draw(canvas).polygon(points, fill=value_of[shape.name], outline=value_of[shape.name])
    return np.asarray(canvas)


def _scaled(polygon: Points, size: Size) -> Points:
    return [(round(x * size[1], 3), round(y * size[0], 3)) for x, y in polygon]  # six digits of 1/3 are a bit less


def _mask_of_runs(shape: Shape, size: Size, drawing: Drawing) -> IntegerArray:
    """Return what runs cover, uint8 (H, W) of 0 and 1: they go down the columns and begin outside."""
    runs = np.array(shape.runs, np.int64)
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise DataError(f"The run lengths of a {shape.name!r} do not fit {drawing.image}; export polygons.")
    covered = np.repeat(np.arange(len(runs), dtype=np.int64) % 2, runs).astype(np.uint8)
    return np.ascontiguousarray(covered.reshape(size[1], size[0]).T)


def _refuse_twice(drawings: Sequence[Drawing]) -> None:
    count = Counter((drawing.part, drawing.name) for drawing in drawings)
    if twice := next((key for key, number in count.items() if number > 1), None):
        raise DataError(f"The image {'/'.join(filter(None, twice))} is annotated twice; keep one of the annotations.")


def _write(drawing: Drawing, mask: IntegerArray, out: Path) -> None:
    """Copy an image and write its mask; a name cannot lead out of the folder."""
    name = PurePosixPath(*(part for part in PurePosixPath(drawing.name).parts if part not in ("..", "/")))
    image, target = (out / drawing.part / kind / name.parent for kind in ("images", "masks"))
    for folder in (image, target):
        folder.mkdir(parents=True, exist_ok=True)
    write_with(image / f"{name.name}{drawing.image.suffix}", lambda path: shutil.copyfile(drawing.image, path))
    write_with(target / f"{name.name}.png", lambda path: Image.fromarray(mask).save(path, "PNG"))
