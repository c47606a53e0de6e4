"""The images of a report: image, truth, prediction and difference as PNG or JPEG, each with a text alternative."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from segtool.array_types import BoolArray, Int64Array, IntegerArray, UInt8Array
from segtool.data.base import Dataset
from segtool.metrics import confusion_matrix
from segtool.report.page.models import Model
from segtool.report.page.pairs import largest_confusions
from segtool.report.pictures import gray_to_rgb, labels_of, overlay_of, shrunk

Facts = Mapping[str, Any]
Layer = tuple[BoolArray, tuple[int, int, int]]
Example = dict[str, Any]
"""An image of the page: its `panels`, and its `facts` in `per_image` or in the `images` of a pair."""

# Foreground predicted as background, the opposite, and one class predicted as another. Distinct for all common kinds of
# colour blindness, on dark and light images.
MISSED, INVENTED, CONFUSED = (255, 176, 0), (100, 143, 255), (220, 38, 127)
DIFFERENCES = {
    MISSED: "missed: foreground predicted as background",
    INVENTED: "invented: background predicted as foreground",
    CONFUSED: "confused: one class predicted as another",
}
_DIM = 0.35
_LONGEST = 384  # largest side in pixels; larger images are shrunk
_LARGEST_PNG = 50_000  # bytes; photographs above it are a third as large as JPEG


def examples_of(model: Model, data: Dataset, facts: Facts) -> dict[str, list[Example]]:
    """Return the worst and the best images of a model, by its entry in ``models``."""
    entries = {entry["index"]: entry for entry in facts["per_image"]}
    return {kind: [_example_of(model, data, entries[index]) for index in facts[kind]] for kind in ("worst", "best")}


def _example_of(model: Model, data: Dataset, facts: Facts) -> Example:
    """Return an image of a model with its truth, the prediction and the difference, by its entry in `per_image`."""
    index = int(facts["index"])
    truth = data.label(index)
    labels = labels_of(model.predictor, data, index, truth.shape)
    words = _in_words(confusion_matrix(truth, labels, data.num_classes, ignore_id=data.ignore_id), data)
    panels = [
        _image_panel(data, index),
        _labels_panel("truth", truth, model, data, index),
        _labels_panel("prediction", labels, model, data, index),
        panel("difference", words, _on(data.image(index), _wrong(truth, labels, data))),
    ]
    return {"panels": panels, "facts": facts}


def change_of(float32: Model, int8: Model, data: Dataset, facts: Facts) -> Example:
    """Return an image with the labels of two models and their difference, by its entry in the `images` of the pair."""
    index = int(facts["index"])
    size = data.label(index).shape
    first, second = (labels_of(model.predictor, data, index, size) for model in (float32, int8))
    words = _in_words(confusion_matrix(first, second, data.num_classes), data, verb="became")
    panels = [
        _image_panel(data, index),
        _labels_panel("FP32", first, int8, data, index),
        _labels_panel("INT8", second, int8, data, index),
        panel("changed", words, _on(data.image(index), [(first != second, CONFUSED)])),
    ]
    return {"panels": panels, "facts": facts}


def panel(heading: str, words: str, pixels: UInt8Array) -> dict[str, Any]:
    """Return a picture uint8 (h, w, 3) for the page: heading (one word), alternative (text), data URI, width, height.

    A large picture is shrunk by averaging, so that thin classes stay visible. Up to 256 colours are stored losslessly
    as a palette. A photograph becomes a JPEG with all its colour where a PNG would be large.
    """
    image = shrunk(pixels, _LONGEST)
    width, height = image.size
    if image.getcolors(256) is not None:
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    kind, packed = "png", _packed(image, "PNG", optimize=True)
    if image.mode == "RGB" and len(packed) > _LARGEST_PNG:
        kind, packed = "jpeg", _packed(image, "JPEG", quality=92, subsampling=0)
    data = f"data:image/{kind};base64,{base64.b64encode(packed).decode('ascii')}"
    return {"heading": heading, "alternative": f"{heading}: {words}", "data": data, "width": width, "height": height}


def _packed(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _wrong(truth: IntegerArray, labels: IntegerArray, data: Dataset) -> list[Layer]:
    """Return the wrong pixels of each kind; ignored pixels are never wrong."""
    wrong = (truth != labels) & (truth != data.ignore_id)
    missed, invented = wrong & (labels == data.background_id), wrong & (truth == data.background_id)
    return [(wrong, CONFUSED), (missed, MISSED), (invented, INVENTED)]


def _in_words(matrix: Int64Array, data: Dataset, *, verb: str = "predicted as") -> str:
    """Return a text with the number of differing pixels and the most frequent pairs of classes."""
    total, wrong = int(matrix.sum()), int(matrix.sum() - np.trace(matrix))
    if not wrong:
        return f"none of {total:,} pixels differ"
    largest = largest_confusions(matrix, data.class_names, most=3)
    parts = [f"{item['from']} {verb} {item['to']} ({item['pixels']:,})" for item in largest]
    return f"{wrong:,} of {total:,} pixels differ: {', '.join(parts)}"


def _on(image: UInt8Array, layers: Sequence[Layer]) -> UInt8Array:
    """Return the dimmed image with the pixels of each layer in its colour."""
    shown: UInt8Array = np.rint(gray_to_rgb(image) * _DIM).astype(np.uint8)
    for mask, color in layers:
        shown[mask] = color
    return shown


def _labels_panel(heading: str, labels: IntegerArray, model: Model, data: Dataset, index: int) -> dict[str, Any]:
    palette = model.predictor.contract.palette
    present = [int(value) for value in np.unique(labels) if value not in (data.background_id, data.ignore_id)]
    names = ", ".join(data.class_names[value] for value in present)
    words = f"classes {names}" if names else "only background"
    return panel(heading, words, overlay_of(data.image(index), labels, palette, data.classes))


def _image_panel(data: Dataset, index: int) -> dict[str, Any]:
    image, kind = data.image(index), "grey" if data.channels == 1 else "colour"
    words = f"{data.sample_names[index]}, {kind}, {image.shape[0]} x {image.shape[1]} pixels"
    return panel("image", words, gray_to_rgb(image))
