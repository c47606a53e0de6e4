"""Pictures of a report: image, truth, prediction and difference as embedded PNG, each with a text alternative."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from segtool.array_types import IntegerArray, UInt8Array
from segtool.data.base import Dataset
from segtool.metrics import confusion_matrix
from segtool.report.page.scoring import largest_confusions
from segtool.report.pixels import color_labels, fit, gray_to_rgb

Palette = Sequence[tuple[int, int, int]]

# Distinct for all common kinds of colour blindness, on dark and light images.
MISSED, INVENTED, CONFUSED = (255, 176, 0), (100, 143, 255), (220, 38, 127)
_DIM = 0.35
_LONGEST = 384  # largest side in pixels; larger images are shrunk


@dataclass(frozen=True)
class Panel:
    """A picture of the page.

    Attributes
    ----------
    heading
        Its name, one word.
    alternative
        Its text alternative.
    data
        The PNG as a data URI.
    width, height
        Its size in pixels.
    """

    heading: str
    alternative: str
    data: str
    width: int
    height: int


def example_panels(dataset: Dataset, index: int, prediction: IntegerArray, palette: Palette) -> list[Panel]:
    """Return image, truth, prediction and difference of one image; `prediction` (h, w) at the size of the truth."""
    image, truth = dataset.image(index), dataset.label(index)
    matrix = confusion_matrix(truth, prediction, dataset.num_classes, ignore_id=dataset.ignore_id)
    return [
        _panel("image", _image_words(dataset, index, image), gray_to_rgb(image)),
        _labels_panel("truth", truth, dataset, palette),
        _labels_panel("prediction", prediction, dataset, palette),
        _panel(
            "difference", difference_words(matrix, dataset.class_names), difference(image, truth, prediction, dataset)
        ),
    ]


def change_panels(
    dataset: Dataset, index: int, first: IntegerArray, second: IntegerArray, palette: Palette
) -> list[Panel]:
    """Return image, the labels of two models, and their difference."""
    image = dataset.image(index)
    matrix = confusion_matrix(first, second, dataset.num_classes)
    changed = _on(image, second, [(first != second, CONFUSED)])
    words = difference_words(matrix, dataset.class_names, verb="became")
    return [
        _panel("image", _image_words(dataset, index, image), gray_to_rgb(image)),
        _labels_panel("FP32", first, dataset, palette),
        _labels_panel("INT8", second, dataset, palette),
        _panel("changed", words, changed),
    ]


def difference(image: UInt8Array, truth: IntegerArray, prediction: IntegerArray, dataset: Dataset) -> UInt8Array:
    """Return the dimmed image with wrong pixels in colour, uint8 (h, w, 3).

    Foreground predicted as background is `MISSED`. Background predicted as foreground is `INVENTED`. One class
    predicted as another is `CONFUSED`. Ignored pixels are never wrong.
    """
    wrong = truth != prediction
    if dataset.ignore_id is not None:
        wrong &= truth != dataset.ignore_id
    background = dataset.background_id
    missed = wrong & (prediction == background) if background is not None else np.zeros_like(wrong)
    invented = wrong & (truth == background) if background is not None else np.zeros_like(wrong)
    return _on(image, truth, [(wrong, CONFUSED), (missed, MISSED), (invented, INVENTED)])


def difference_words(matrix: npt.NDArray[np.int64], class_names: Sequence[str], *, verb: str = "predicted as") -> str:
    """Return a text with the number of differing pixels and the most frequent pairs of classes."""
    total, wrong = int(matrix.sum()), int(matrix.sum() - np.trace(matrix))
    if not wrong:
        return f"none of {total:,} pixels differ"
    largest = largest_confusions(matrix, class_names, most=3)
    parts = [f"{item['from']} {verb} {item['to']} ({item['pixels']:,})" for item in largest]
    return f"{wrong:,} of {total:,} pixels differ: {', '.join(parts)}"


def _on(
    image: UInt8Array, labels: IntegerArray, layers: Sequence[tuple[npt.NDArray[np.bool_], tuple[int, int, int]]]
) -> UInt8Array:
    """Return the dimmed image at the size of `labels`, with the pixels of each layer in its colour."""
    pixels = fit(gray_to_rgb(image), (labels.shape[0], labels.shape[1]))
    shown: UInt8Array = np.rint(pixels * _DIM).astype(np.uint8)
    for mask, color in layers:
        shown[mask] = color
    return shown


def _labels_panel(heading: str, labels: IntegerArray, dataset: Dataset, palette: Palette) -> Panel:
    present = [int(value) for value in np.unique(labels) if value not in (dataset.background_id, dataset.ignore_id)]
    names = [dataset.class_names[value] for value in present]
    words = f"classes {', '.join(names)}" if names else "only background"
    return _panel(heading, words, color_labels(labels, palette, ignore_id=dataset.ignore_id))


def _image_words(dataset: Dataset, index: int, image: UInt8Array) -> str:
    kind = "grey" if dataset.channels == 1 else "colour"
    return f"{dataset.sample_names[index]}, {kind}, {image.shape[0]} x {image.shape[1]} pixels"


def _panel(heading: str, words: str, pixels: UInt8Array) -> Panel:
    height, width = pixels.shape[:2]
    factor = _LONGEST / max(height, width)
    if factor < 1:
        height, width = max(1, round(height * factor)), max(1, round(width * factor))
        pixels = fit(pixels, (height, width))
    return Panel(heading, f"{heading}: {words}", data_uri(pixels), width, height)


def data_uri(pixels: UInt8Array) -> str:
    """Return uint8 (h, w, 3) pixels as a data URI with a PNG; up to 256 colours are stored losslessly as a palette."""
    red, green, blue = np.moveaxis(pixels.astype(np.uint32), -1, 0)
    colors, places = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    if len(colors) <= 256:
        image = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8), "P")
        image.putpalette(np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1).astype(np.uint8).tobytes())
    else:
        image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
