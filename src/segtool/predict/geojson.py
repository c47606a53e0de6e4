"""Writing the regions of a label map as GeoJSON (RFC 7946), in pixel coordinates in place of degrees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtool.files import atomic_path, refuse_existing
from segtool.images.arrays import IntegerArray
from segtool.predict.contours import Region, trace_regions

CONVENTION = "pixel edges: x to the right, y down, origin at the top left corner of the image"
"""What coordinates mean; it is written into each file."""


def write_contours(
    path: str | Path,
    labels: IntegerArray,
    names: Sequence[str],
    *,
    background_id: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write the regions of labels (H, W) as a FeatureCollection of polygons with holes, atomically.

    A feature is a region, with the properties `class_id`, `class_name` and `area` (pixels). Pixels of no polygon are
    of the class `background_id`. Filling the polygons gives the label map back exactly.

    Raises
    ------
    OutputExistsError, OutputWriteError
        As in `segtool.files`.
    """
    target = refuse_existing(path, overwrite=overwrite)
    height, width = labels.shape
    head: dict[str, Any] = {
        "type": "FeatureCollection",
        "coordinates_are": CONVENTION,
        "width": width,
        "height": height,
        "background_id": background_id,
    }
    heads = [_head(class_id, name) for class_id, name in enumerate(names)]
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(head)[:-1] + ', "features": [')
        for index, region in enumerate(trace_regions(labels, background_id=background_id)):
            # One a line: a map of many regions is never text as a whole.
            stream.write((",\n" if index else "\n") + heads[region.class_id] + _tail(region))
        stream.write("\n]}\n")


def _head(class_id: int, name: str) -> str:
    """Return a feature's text up to its area; json.dumps of each whole feature took twice the time of tracing them."""
    text = json.dumps({"type": "Feature", "properties": {"class_id": class_id, "class_name": name}})
    return text.removesuffix("}}")


def _tail(region: Region) -> str:
    """Return a feature's text from its area on; a ring ends where it begins, as GeoJSON has them."""
    coordinates = str([[*ring, ring[0]] for ring in region.rings]).replace("(", "[").replace(")", "]")
    return f', "area": {region.area}}}, "geometry": {{"type": "Polygon", "coordinates": {coordinates}}}}}'
