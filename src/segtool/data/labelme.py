"""LabelMe's outlines: a .json beside each image, with polygons, rectangles and circles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from segtool.data.layout import image_files
from segtool.data.outlines import Drawing, Outlines, Shape, files_below, part_in, read_json
from segtool.errors import DataError

_WITHOUT_AREA = ("line", "linestrip", "point", "points")


def read_labelme(folder: Path) -> Outlines:
    """Read the outlines of all LabelMe files below a folder; images without one are left out."""
    drawings: list[Drawing] = []
    left_out: dict[str, list[Path]] = {}
    for path in files_below(folder, ".json"):
        raw = read_json(path)
        if not isinstance(raw, dict) or "shapes" not in raw:
            continue
        named = path.parent / PureWindowsPath(str(raw.get("imagePath"))).as_posix()
        image = next((one for one in (named, *_beside(path)) if one.is_file()), None)
        if image is None:
            raise DataError(f"{path} is of the image {raw.get('imagePath')}, which is not there; put it beside it.")
        shapes: list[Shape] = []
        for shape in raw["shapes"]:
            if (kind := shape.get("shape_type")) in _WITHOUT_AREA:
                left_out.setdefault(kind, []).append(path)
            else:
                shapes.append(_shape(shape, path))
        sides = raw.get("imageHeight"), raw.get("imageWidth")
        size = (int(sides[0]), int(sides[1])) if sides[0] and sides[1] else None
        name = path.relative_to(folder).with_suffix("").as_posix()
        drawings.append(Drawing(part_in(path, folder), name, image, size, shapes))
    names = dict.fromkeys(shape.name for drawing in drawings for shape in drawing.shapes)
    return Outlines("LabelMe", sorted(names), drawings, left_out)


def _beside(path: Path) -> list[Path]:
    return [image for image in image_files(path.parent) if image.parent == path.parent and image.stem == path.stem]


def _shape(shape: Mapping[str, Any], path: Path) -> Shape:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    kind = shape.get("shape_type") or "polygon"
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif kind == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [math.tau * step / 64 for step in range(64)]
        points = [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]
    elif kind != "polygon":
        raise DataError(
            f"{path} has a shape of the type {kind!r} ({shape['label']}), expected a polygon, rectangle or circle; "
            "draw it as a polygon or remove it."
        )
    return Shape(str(shape["label"]), [points])
