"""Label maps as pictures: sample predictions with the scores of each image, and differences of two models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segtool.array_types import IntegerArray, UInt8Array
from segtool.contract import default_palette
from segtool.data.classes import Classes
from segtool.errors import DataError
from segtool.report.picture_grid import MAX_LEGEND, Color, Heading, Row, draw_grid
from segtool.report.pixels import IGNORED_COLOR, color_labels, gray_to_rgb
from segtool.report.style import drawable_names, require_matplotlib
from segtool.report.tables import TableRow, present_classes, table_rows
from segtool.text import percent

# Distinct for red-green colour blindness and in grey: blue, orange and a dark red, after Okabe and Ito.
_BOTH, _FIRST, _SECOND, _NEITHER = (250, 250, 250), (0, 114, 178), (230, 159, 0), (90, 30, 30)


def plot_predictions(
    images: UInt8Array,
    truths: IntegerArray,
    predictions: IntegerArray,
    path: str | Path,
    *,
    classes: Classes,
    title: str = "Sample predictions",
    names: Sequence[str] | None = None,
) -> None:
    """Write one row per image to a PNG: image, prediction, truth, and the IoU and Dice of each class.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB), or (n, h, w); n is at least 1, and best at most 16.
    truths, predictions
        Class ids (n, h, w); `truths` may hold the ignore id, which is light grey and does not count.
    path
        The PNG to write, atomically.
    classes
        The classes of the ids.
    title
        Heading of the picture.
    names
        Name of each image, for the line above it; None for no such line.

    Raises
    ------
    DataError
        Shapes do not match, there is no image, or a class id is out of range.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    require_matplotlib()
    _check(images, [truths, predictions])
    _check_range(predictions, len(classes.names))
    drawn = drawable_names(classes.names)
    palette = _palette(classes)
    tables = [
        table_rows(
            truth, prediction, class_names=drawn, background_id=classes.background_id, ignore_id=classes.ignore_id
        )
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
    rows = [
        Row(
            [
                gray_to_rgb(images[at]),
                color_labels(predictions[at], palette, ignore_id=None),
                color_labels(truths[at], palette, ignore_id=classes.ignore_id),
            ],
            title=names[at] if names is not None else "",
            table=[_line(row, palette) for row in table],
        )
        for at, table in enumerate(tables)
    ]
    shown = range(len(drawn)) if len(drawn) <= MAX_LEGEND else present_classes(tables)
    legend = [(drawn[index], palette[index]) for index in shown]
    ignored = classes.ignore_id is not None and bool((truths == classes.ignore_id).any())
    notes = _notes(len(drawn), len(present_classes(tables)), ignored=ignored)
    legend += [("ignored", IGNORED_COLOR)] if ignored else []
    columns = ("Image", "Prediction", "Truth")
    heading = Heading(title, notes, legend, columns, table=("in this image", "IoU %", "Dice %"))
    draw_grid(rows, heading, path, box=480)


def plot_differences(
    images: UInt8Array,
    truths: IntegerArray,
    predictions: Sequence[IntegerArray],
    path: str | Path,
    *,
    names: Sequence[str],
    titles: Sequence[str],
    classes: Classes,
) -> None:
    """Write one row per image to a PNG: image, truth, both predictions, and a map of the model that is right.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB); n is at least 1, and best at most 16.
    truths
        Class ids (n, h, w); the classes' ignore id is drawn light grey.
    predictions
        Class ids (n, h, w) of the first and of the second model.
    path
        The PNG to write, atomically.
    names, titles
        Names of the two models; title above each row.
    classes
        The classes of the ids.

    Raises
    ------
    DataError
        Shapes do not match, or there is no image.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    _check(images, [truths, *predictions])
    palette = _palette(classes)
    rows = [
        Row(
            [
                gray_to_rgb(image),
                color_labels(truth, palette, ignore_id=classes.ignore_id),
                *(color_labels(each, palette, ignore_id=None) for each in labels),
                who_is_right(truth, labels[0], labels[1], ignore_id=classes.ignore_id),
            ],
            title=title,
        )
        for image, truth, title, *labels in zip(images, truths, titles, *predictions, strict=True)
    ]
    legend = [("both are right", _BOTH), (f"only {names[0]} is", _FIRST), (f"only {names[1]} is", _SECOND)]
    legend += [("neither is", _NEITHER)] + ([("ignored", IGNORED_COLOR)] if classes.ignore_id is not None else [])
    if len(classes.names) <= MAX_LEGEND:
        legend += list(zip(drawable_names(classes.names), palette, strict=True))
    notes = ("Images with the most differing labels first; each picture has the size of the first model.",)
    columns = ("Image", "Truth", *names, "Who is right")
    draw_grid(rows, Heading(f"Where {names[0]} and {names[1]} differ", notes, legend, columns), path, box=360)


def who_is_right(
    truth: IntegerArray, first: IntegerArray, second: IntegerArray, *, ignore_id: int | None
) -> UInt8Array:
    """Return a picture uint8 (h, w, 3) that shows which of two label maps is right; ignored pixels are grey."""
    palette: UInt8Array = np.asarray([_NEITHER, _FIRST, _SECOND, _BOTH, IGNORED_COLOR], np.uint8)
    states = (first == truth).astype(np.intp) + 2 * (second == truth)
    if ignore_id is not None:
        states[truth == ignore_id] = 4
    picture: UInt8Array = palette[states]
    return picture


def _palette(classes: Classes) -> Sequence[Color]:
    return default_palette(len(classes.names), background_id=classes.background_id)


def _check(images: UInt8Array, labels: Sequence[IntegerArray]) -> None:
    """Refuse arrays whose shapes do not match."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(
            f"Images to draw must be uint8 (n, h, w, 1 or 3), found {images.dtype} {images.shape}; convert them."
        )
    if 0 in images.shape:
        raise DataError(f"There is no image to draw in an array of shape {images.shape}; pass at least one.")
    shapes = [each.shape for each in labels]
    if any(shape != images.shape[:3] for shape in shapes):
        raise DataError(
            f"Label maps of shapes {shapes} do not match images of shape {images.shape}; pass maps of the same size."
        )


def _check_range(predictions: IntegerArray, count: int) -> None:
    """Refuse predictions out of range, which have no colour; the metrics check only counted pixels."""
    low, high = int(predictions.min()), int(predictions.max())
    if low < 0 or high >= count:
        raise DataError(
            f"The predictions hold ids {low} to {high}, expected class ids 0 to {count - 1}; pass the right classes."
        )


def _line(row: TableRow, palette: Sequence[Color]) -> tuple[Color | None, str, Sequence[str]]:
    color = None if row.class_id is None else palette[row.class_id]
    return color, row.name, (percent(row.iou, 1), percent(row.dice, 1))


def _notes(classes: int, present: int, *, ignored: bool) -> Sequence[str]:
    parts = ["The table lists the classes in the truth or the prediction of the image"]
    parts += ["ignored pixels do not count"] if ignored else []
    parts += [f"{present} of {classes} classes occur here"] if classes > MAX_LEGEND else []
    first = "IoU and Dice in percent, per image: from the pixels of this image, not averaged over the data set."
    return first, "; ".join(parts) + "."
