"""Write the regions of a label map as GeoJSON (RFC 7946), in pixel coordinates instead of degrees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segtool.array_types import IntegerArray
from segtool.files import atomic_path
from segtool.predict.contours import Region, trace_regions

CONVENTION = "pixel edges: x to the right, y down, origin at the top left corner of the image"
"""The definition of the coordinates; it is written into each file."""


def write_contours(
    path: str | Path,
    labels: IntegerArray,
    names: Sequence[str],
    *,
    background_id: int | None = None,
) -> None:
    """Write the regions of labels (H, W) as a FeatureCollection of polygons with holes, atomically.

    An existing file is replaced. A feature is a region, with the properties `class_id`, `class_name` and `area`
    (pixels). Pixels outside all polygons have the class `background_id`. Filling the polygons gives exactly the label
    map.

    Raises
    ------
    OutputWriteError
        As in `segtool.files`.
    """
    height, width = labels.shape
    head: dict[str, Any] = {
        "type": "FeatureCollection",
        "coordinates_are": CONVENTION,
        "width": width,
        "height": height,
        "background_id": background_id,
    }
    heads = [_head(class_id, name) for class_id, name in enumerate(names)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(head)[:-1] + ', "features": [')
        for index, region in enumerate(trace_regions(labels, background_id=background_id)):
            # One feature per line: the text of a map with many regions is never in memory as a whole.
            stream.write((",\n" if index else "\n") + heads[region.class_id] + _tail(region))
        stream.write("\n]}\n")


def _head(class_id: int, name: str) -> str:
    """Return the text of a feature up to its area; json.dumps of whole features took twice the time of tracing."""
    text = json.dumps({"type": "Feature", "properties": {"class_id": class_id, "class_name": name}})
    return text.removesuffix("}}")


def _tail(region: Region) -> str:
    """Return the text of a feature from its area on; GeoJSON repeats the first corner at the end of a ring."""
    coordinates = str([[*ring, ring[0]] for ring in region.rings]).replace("(", "[").replace(")", "]")
    return f', "area": {region.area}}}, "geometry": {{"type": "Polygon", "coordinates": {coordinates}}}}}'
