"""COCO's outlines: .json files with images, annotations and categories; polygons, and run lengths as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtool.data.layout import image_files
from segtool.data.outlines import Drawing, Outlines, Shape, files_below, part_in, points_of, read_json
from segtool.errors import DataError


def read_coco(folder: Path) -> Outlines:
    """Read the outlines of all COCO files below a folder; large objects come before small ones, which lie on them."""
    by_name: dict[str, list[Path]] = {}
    for path in image_files(folder):
        by_name.setdefault(path.name, []).append(path)
    names: dict[str, None] = {}
    drawings: list[Drawing] = []
    files = [*files_below(folder, ".json")]
    for path in [one for one in files if "instances" in one.stem] or files:  # not the keypoints of the same images
        raw = read_json(path)
        if not isinstance(raw, dict) or not {"images", "annotations", "categories"} <= raw.keys():
            continue
        category = {entry["id"]: str(entry["name"]) for entry in raw["categories"]}
        used = {entry["category_id"] for entry in raw["annotations"]}
        names |= dict.fromkeys(name for key, name in category.items() if key in used)
        shapes: dict[Any, list[Mapping[str, Any]]] = {}
        for entry in raw["annotations"]:
            shapes.setdefault(entry["image_id"], []).append(entry)
        for image in raw["images"]:
            large_first = sorted(shapes.get(image["id"], ()), key=lambda entry: -float(entry.get("area") or 0))
            file = _image(str(image["file_name"]), by_name, path, folder)
            drawn = [_shape(entry, category[entry["category_id"]], path) for entry in large_first]
            name = Path(image["file_name"]).with_suffix("").as_posix()
            drawings.append(
                Drawing(part_in(path, folder), name, file, (int(image["height"]), int(image["width"])), drawn)
            )
    return Outlines("COCO", list(names), drawings)


def _image(name: str, by_name: Mapping[str, Sequence[Path]], path: Path, folder: Path) -> Path:
    found = [image for image in by_name.get(Path(name).name, ()) if image.as_posix().endswith(f"/{name}")]
    near = [image for image in found if part_in(image, folder) == part_in(path, folder)] or found
    same = [image for image in near if image.is_relative_to(path.parent)] or near
    if len(same) != 1:
        raise DataError(
            f"{path} names the image {name}, of which there {'are several' if same else 'is none'} below the folder, "
            "expected one; put images and annotations into one folder, each image once."
        )
    return same[0]


def _shape(entry: Mapping[str, Any], name: str, path: Path) -> Shape:
    outline = entry["segmentation"]
    if isinstance(outline, dict):
        if not isinstance(outline["counts"], list):
            raise DataError(
                f"{path} has masks as compressed run lengths (annotation {entry['id']}), expected polygons; export "
                "polygons, or masks as PNG."
            )
        return Shape(name, [], [int(run) for run in outline["counts"]])
    return Shape(name, [points_of([float(number) for number in ring]) for ring in outline])
