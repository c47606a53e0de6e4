"""Outlines of objects as LabelMe, COCO and YOLO write them, before they are drawn as masks."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from segtool.data.base import Size
from segtool.data.headers import read_header
from segtool.data.layout import find_places, image_files, part_of
from segtool.errors import DataError, reason_of
from segtool.text import counted, decoded

Points = list[tuple[float, float]]
_WITHOUT_AREA = ("line", "linestrip", "point", "points")  # shapes of LabelMe
_YOLO_NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")


@dataclass(frozen=True)
class Shape:
    """An object: the polygons (x, y) in pixels that it has, or the lengths of its runs down the columns."""

    name: str
    polygons: Sequence[Points]
    runs: Sequence[int] = ()


@dataclass(frozen=True)
class Drawing:
    """An image with its objects, in the order in which they are drawn."""

    part: str  # "train", "val", "test" or empty
    name: str  # its path in that part
    image: Path
    size: Size | None  # (height, width) of the image by the annotation; None where it does not say
    shapes: Sequence[Shape]


@dataclass(frozen=True)
class Outlines:
    """The annotations of a folder; `left_out` has the files with shapes without an area, by type ("line")."""

    form: str  # "LabelMe", "COCO" or "YOLO"
    names: Sequence[str]  # the classes in their order
    drawings: Sequence[Drawing]
    left_out: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    @property
    def images(self) -> Counter[str]:
        """The number of images in each part."""
        return Counter(drawing.part for drawing in self.drawings)

    @property
    def objects(self) -> Counter[str]:
        """The number of objects of each class."""
        return Counter(shape.name for drawing in self.drawings for shape in drawing.shapes)


def read_labelme(folder: Path) -> Outlines:
    """Read the .json files beside images, with polygons, rectangles and circles; images without one are left out."""
    drawings: list[Drawing] = []
    left_out: dict[str, list[Path]] = {}
    for path, raw in _json_files(folder, {"shapes"}):
        named = path.parent / PureWindowsPath(str(raw.get("imagePath"))).as_posix()
        beside = (one for one in image_files(path.parent) if one.parent == path.parent and one.stem == path.stem)
        image = named if named.is_file() else next(beside, None)
        if image is None:
            raise DataError(f"{path} is of the image {raw.get('imagePath')}, which is not there; put it beside it.")
        shapes: list[Shape] = []
        for shape in raw["shapes"]:
            if (kind := shape.get("shape_type")) in _WITHOUT_AREA:
                left_out.setdefault(kind, []).append(path)
            else:
                shapes.append(_labelme_shape(shape, path))
        height, width = raw.get("imageHeight"), raw.get("imageWidth")
        size = (int(height), int(width)) if height and width else None
        name = path.relative_to(folder).with_suffix("").as_posix()
        drawings.append(Drawing(_part_in(path, folder), name, image, size, shapes))
    names = {shape.name for drawing in drawings for shape in drawing.shapes}
    return Outlines("LabelMe", sorted(names), drawings, left_out)


def _labelme_shape(shape: Mapping[str, Any], path: Path) -> Shape:
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


def read_coco(folder: Path) -> Outlines:
    """Read .json files with images, annotations (polygons, or run lengths as numbers) and categories.

    Large objects come before small ones, which lie on them.
    """
    by_name: dict[str, list[Path]] = {}
    for path in image_files(folder):
        by_name.setdefault(path.name, []).append(path)
    names: dict[str, None] = {}
    drawings: list[Drawing] = []
    for path, raw in _json_files(folder, {"images", "annotations", "categories"}, preferred="instances"):
        category = {entry["id"]: str(entry["name"]) for entry in raw["categories"]}
        used = {entry["category_id"] for entry in raw["annotations"]}
        names |= dict.fromkeys(name for key, name in category.items() if key in used)
        shapes: dict[Any, list[Mapping[str, Any]]] = {}
        for entry in raw["annotations"]:
            shapes.setdefault(entry["image_id"], []).append(entry)
        for image in raw["images"]:
            large_first = sorted(shapes.get(image["id"], ()), key=lambda entry: -float(entry.get("area") or 0))
            file = _coco_image(str(image["file_name"]), by_name, path, folder)
            drawn = [_coco_shape(entry, category[entry["category_id"]], path) for entry in large_first]
            name = Path(image["file_name"]).with_suffix("").as_posix()
            size = int(image["height"]), int(image["width"])
            drawings.append(Drawing(_part_in(path, folder), name, file, size, drawn))
    return Outlines("COCO", list(names), drawings)


def _coco_image(name: str, by_name: Mapping[str, Sequence[Path]], path: Path, folder: Path) -> Path:
    found = [image for image in by_name.get(Path(name).name, ()) if image.as_posix().endswith(f"/{name}")]
    near = [image for image in found if _part_in(image, folder) == _part_in(path, folder)] or found
    same = [image for image in near if image.is_relative_to(path.parent)] or near
    if len(same) != 1:
        raise DataError(
            f"{path} names the image {name}, of which there {'are several' if same else 'is none'} below the folder, "
            "expected one; put images and annotations into one folder, each image once."
        )
    return same[0]


def _coco_shape(entry: Mapping[str, Any], name: str, path: Path) -> Shape:
    outline = entry["segmentation"]
    if not isinstance(outline, dict):
        return Shape(name, [_points([float(number) for number in ring]) for ring in outline])
    if not isinstance(outline["counts"], list):
        raise DataError(
            f"{path} has masks as compressed run lengths (annotation {entry['id']}), expected polygons; export "
            "polygons, or masks as PNG."
        )
    return Shape(name, [], [int(run) for run in outline["counts"]])


def read_yolo(folder: Path) -> Outlines:
    """Read labels/ with a .txt for each image of images/, and the names of classes; an image without has no object."""
    names = _yolo_names(folder)
    drawings: list[Drawing] = []
    for place in find_places(folder):
        for image in sorted(image_files(place.images)):
            stem = image.relative_to(place.images).with_suffix("")
            path = place.masks / f"{stem}.txt"
            shapes = _yolo_shapes(path, names, read_header(image).size) if path.is_file() else []
            drawings.append(Drawing(place.part, (Path(place.above) / stem).as_posix(), image, None, shapes))
    return Outlines("YOLO", names, drawings)


def _yolo_shapes(path: Path, names: Sequence[str], size: Size) -> list[Shape]:
    shapes = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) == 5:
            raise DataError(f"{path} has boxes (class, x, y, width, height), expected outlines of 3 points or more.")
        try:
            number, outline = int(fields[0]), _points([float(share) for share in fields[1:]])
        except ValueError as error:
            raise DataError(
                f"{path} has the line {line[:60]!r}, expected a class and x y x y ...; correct it."
            ) from error
        if not 0 <= number < len(names):
            raise DataError(f"{path} has the class {number}, expected one of {counted(len(names), 'name')}; add it.")
        # Rounded, because six digits of 1/3 are a bit less.
        pixels = [(round(x * size[1], 3), round(y * size[0], 3)) for x, y in outline]
        shapes.append(Shape(names[number], [pixels]))
    return shapes


def _yolo_names(folder: Path) -> list[str]:
    """Return the names in data.yaml (a list, or numbers with names) or on the lines of classes.txt."""
    path = next((at / name for at in (folder, folder.parent) for name in _YOLO_NAMES if (at / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} has no {' or '.join(_YOLO_NAMES[:3])}, expected the names of the classes; add it.")
    text = decoded(path.read_bytes())
    if path.suffix != ".yaml":
        return [line.strip() for line in text.splitlines() if line.strip()]
    found = re.search(
        r"^names:[ \t]*(\[.*?\]|\{.*?\}|(?:\n[ \t]*(?:-|\d+:).*)+)", text, re.M | re.S if "[" in text else re.M
    )
    listed = found[1] if found else ""
    entries = re.split(r"[\n,]" if listed[:1] in ("[", "{") else r"\n", listed.strip("[]{} \n"))
    names = [re.sub(r"^\s*(-\s+|\d+\s*:\s*)?", "", entry).split(" #")[0].strip().strip("'\"") for entry in entries]
    if not any(names):
        raise DataError(f"{path} has no list of names that can be read, expected names: [first, second]; write it so.")
    return [name for name in names if name]


def _json_files(folder: Path, keys: set[str], *, preferred: str = "") -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the .json files below a folder that are objects with these keys; those called as `preferred` where any is.

    Hidden files are left out.
    """
    below = [path for path in sorted(folder.rglob("*.json")) if path.is_file()]
    files = [path for path in below if not any(name.startswith(".") for name in path.relative_to(folder).parts)]
    for path in [one for one in files if preferred in one.stem] or files:
        try:
            raw = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"{path} is no JSON that can be read ({reason_of(error)}); export it again or remove it."
            ) from error
        if isinstance(raw, dict) and keys <= raw.keys():
            yield path, raw


def _part_in(path: Path, folder: Path) -> str:
    """Return the part that an annotation file is of, by its name or its folder's: instances_train2017, valid/."""
    words = [word for name in path.relative_to(folder).with_suffix("").parts for word in re.split(r"[\W_\d]+", name)]
    return next((part for word in words if (part := part_of(word))), "")


def _points(numbers: Sequence[float]) -> Points:
    if len(numbers) % 2 or len(numbers) < 6:
        raise DataError(f"An outline has {len(numbers)} numbers, expected x y x y ..., of 3 points or more; remove it.")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
