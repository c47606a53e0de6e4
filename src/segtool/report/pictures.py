"""Images and label maps as rows of pictures in a PNG: predictions with their scores, and differences of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segtool.array_types import IntegerArray, UInt8Array
from segtool.contract import default_palette
from segtool.data.base import Dataset
from segtool.data.classes import Classes
from segtool.images.overlay import enlarged, overlay
from segtool.metrics import Scores, confusion_matrix
from segtool.models.predictor import Predictor
from segtool.report.style import INK, MUTED, RULE, Color, drawable_names, new_figure, save_png, style, write_heading
from segtool.text import clean, percent, shortened

IGNORED_COLOR = (222, 222, 222)
# Distinct for red-green colour blindness and in grey: blue, orange and a dark red, after Okabe and Ito.
_BOTH, _FIRST, _SECOND, _NEITHER = (250, 250, 250), (0, 114, 178), (230, 159, 0), (90, 30, 30)
_CLEAR = (255, 255, 255)  # the background in a legend
_MAX_LEGEND = 24  # with more classes than this, the legend has only those that occur

# Pixels.
_BOX, _SMALL_BOX = 480, 360  # longer side of a picture with a table beside it, and of one of five
_GAP = 20  # between pictures
_LINE = 27  # height of a line of text
_TABLE_WIDTH = 400
_LEAST_WIDTH = 170  # room for the column headings

Line = tuple[Color | None, str, str, str]
"""A line of a table: colour, name, IoU and Dice as text. Without a colour it is bold."""


@dataclass(frozen=True)
class _Row:
    """Pictures uint8 (h, w, 3), the title above them, and the table beside them."""

    pictures: Sequence[UInt8Array]
    title: str
    table: Sequence[Line] = ()


def plot_predictions(
    images: UInt8Array,
    truths: IntegerArray,
    predictions: IntegerArray,
    path: str | Path,
    *,
    classes: Classes,
    title: str,
    names: Sequence[str] | None = None,
) -> None:
    """Write one row per image to a PNG: image, prediction, truth, and the IoU and Dice of each class.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB); n is at least 1, and best at most 16.
    truths, predictions
        Class ids (n, h, w); `truths` may hold the ignore id, which is light grey and does not count.
    names
        Name of each image, for the line above it; None for no such line.

    Raises
    ------
    SegtoolError
        The picture is too large to draw or could not be written, or matplotlib is not installed.
    """
    palette, drawn = default_palette(len(classes.names)), drawable_names(classes.names)
    swatches = swatch_colors(palette, classes)
    tables = [table_rows(*maps, classes) for maps in zip(truths, predictions, strict=True)]
    rows = [
        _Row(
            _panels(images[at], [predictions[at], truths[at]], palette, classes, box=_BOX),
            title=names[at] if names is not None else "",
            table=[_line(row, swatches, drawn) for row in table],
        )
        for at, table in enumerate(tables)
    ]
    present = sorted({row.class_id for table in tables for row in table if row.class_id is not None})
    many, ignored = len(palette) > _MAX_LEGEND, bool((truths == classes.ignore_id).any())
    legend = [(drawn[index], swatches[index]) for index in (present if many else range(len(palette)))]
    parts = ["The table lists the classes in the truth or the prediction of the image"]
    parts += ["ignored pixels do not count"] if ignored else []
    parts += [f"{len(present)} of {len(palette)} classes occur here"] if many else []
    notes = [
        "IoU and Dice in percent, per image: from the pixels of this image, not averaged over the data set.",
        "; ".join(parts) + ".",
    ]
    legend += [("ignored", IGNORED_COLOR)] if ignored else []
    _draw(rows, path, ("Image", "Prediction", "Truth"), box=_BOX, heading=(title, notes, legend))


class TableRow(NamedTuple):
    """IoU and Dice (0..1, NaN if no pixel counts) of a class in one image; the id None is the mean over classes."""

    class_id: int | None
    name: str
    iou: float
    dice: float


def table_rows(truth: IntegerArray, prediction: IntegerArray, classes: Classes) -> list[TableRow]:
    """Return IoU and Dice of each class of one image (h, w), and their mean over the foreground.

    The classes present in truth or prediction come in the order of their ids, then the background, then the mean. All
    values come from the confusion matrix of this image (`segtool.metrics`); pixels of the ignore id do not count.
    """
    names, background = classes.names, classes.background_id
    matrix = confusion_matrix(truth, prediction, len(names), ignore_id=classes.ignore_id)
    scores = Scores.from_matrix(matrix, class_names=names, background_id=background, images=1)
    present = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1)).tolist()
    present.sort(key=lambda index: (index == background, index))
    rows = [TableRow(at, names[at], float(scores.iou[at]), float(scores.dice[at])) for at in present]
    label = "mean" if background is None else "foreground mean"
    return [*rows, TableRow(None, label, float(scores.foreground_mean_iou), float(scores.foreground_mean_dice))]


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

    `predictions` are class ids (n, h, w) of two models, `names` those of the models, and `titles` are above the rows.
    All else is as for `plot_predictions`.
    """
    palette = default_palette(len(classes.names))
    rows = [
        _Row(
            [
                *_panels(image, [truth, *labels], palette, classes, box=_SMALL_BOX),
                who_is_right(truth, labels[0], labels[1], ignore_id=classes.ignore_id),
            ],
            title,
        )
        for image, truth, title, *labels in zip(images, truths, titles, *predictions, strict=True)
    ]
    legend = [("both are right", _BOTH), (f"only {names[0]} is", _FIRST), (f"only {names[1]} is", _SECOND)]
    legend += [("neither is", _NEITHER)] + ([("ignored", IGNORED_COLOR)] if classes.ignore_id is not None else [])
    if len(palette) <= _MAX_LEGEND:
        legend += list(zip(drawable_names(classes.names), swatch_colors(palette, classes), strict=True))
    notes = ["Images with the most differing labels first; each picture has the size of the first model."]
    heading = (f"Where {names[0]} and {names[1]} differ", notes, legend)
    _draw(rows, path, ("Image", "Truth", *names, "Who is right"), box=_SMALL_BOX, heading=heading)


def who_is_right(
    truth: IntegerArray, first: IntegerArray, second: IntegerArray, *, ignore_id: int | None
) -> UInt8Array:
    """Return a picture uint8 (h, w, 3) that shows which of two label maps is right; ignored pixels are grey."""
    states = (first == truth).astype(np.intp) + 2 * (second == truth)
    states[truth == ignore_id] = 4
    picture: UInt8Array = np.asarray([_NEITHER, _FIRST, _SECOND, _BOTH, IGNORED_COLOR], np.uint8)[states]
    return picture


def labels_of(predictor: Predictor, data: Dataset, index: int) -> IntegerArray:
    """Return the labels of a model for one image (h, w), at the size of the model, or of the image if it tiles."""
    if predictor.answer_image is not None:
        return predictor.answer_image(data.image(index))[0]
    size = predictor.contract.height, predictor.contract.width
    labels: IntegerArray = predictor.predict_batch(data.images([index], size=size))[0]
    return labels


def gray_to_rgb(image: UInt8Array) -> UInt8Array:
    """Return a uint8 image (h, w, 1) or (h, w, 3) as (h, w, 3)."""
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def overlay_of(
    image: UInt8Array, labels: IntegerArray, palette: Sequence[Color], classes: Classes, *, times: int = 1
) -> UInt8Array:
    """Return class ids (h, w) over an image (h, w, C), enlarged by `times`, as uint8 (h * times, w * times, 3).

    The background is left clear; pixels of the ignore id are light grey.
    """
    shown = labels if classes.ignore_id is None else np.where(labels == classes.ignore_id, len(palette), labels)
    colors = [*palette, IGNORED_COLOR]
    return overlay(enlarged(image, times), enlarged(shown, times), colors, background_id=classes.background_id)


def swatch_colors(palette: Sequence[Color], classes: Classes) -> list[Color]:
    """Return the colour of each class in a legend on white paper: that of an overlay, white for the background."""
    return [_CLEAR if index == classes.background_id else color for index, color in enumerate(palette)]


def _panels(
    image: UInt8Array, labels: Sequence[IntegerArray], palette: Sequence[Color], classes: Classes, *, box: int
) -> list[UInt8Array]:
    """Return the image (h, w, C), and each label map over it, enlarged so that the outlines are thin lines."""
    times = max(1, box // max(image.shape[:2]))
    return [gray_to_rgb(image), *(overlay_of(image, each, palette, classes, times=times) for each in labels)]


def _line(row: TableRow, palette: Sequence[Color], names: Sequence[str]) -> Line:
    numbers = percent(row.iou, 1), percent(row.dice, 1)
    return (
        (None, row.name, *numbers) if row.class_id is None else (palette[row.class_id], names[row.class_id], *numbers)
    )


def _draw(
    rows: Sequence[_Row],
    path: str | Path,
    columns: Sequence[str],
    *,
    box: int,
    heading: tuple[str, Sequence[str], Sequence[tuple[str, Color]]],
) -> None:
    """Draw the rows under a heading of title, notes and legend; each picture fills a square of about `box` pixels."""
    height, width = rows[0].pictures[0].shape[:2]
    factor = box / max(height, width)
    factor = int(factor) if factor >= 3 else factor  # small pictures keep square pixels
    lines = max(len(row.table) for row in rows)
    width = max(round(width * factor), _LEAST_WIDTH)
    height = max(1, round(height * factor), _LINE * (lines + 1) if lines else 0)
    widths = [width] * len(columns) + [_TABLE_WIDTH] * bool(lines)
    gap = _GAP + (_LINE if any(row.title for row in rows) else 0)
    edges = {"left": 0, "right": 1, "bottom": 0, "top": 1}
    spaces = {"wspace": _GAP * len(widths) / sum(widths), "hspace": gap / height}
    with style():
        page = sum(widths) + _GAP * (len(widths) - 1), len(rows) * (height + gap) - gap
        figure = new_figure(*page, layout=None)
        cells = figure.subplots(
            len(rows), len(widths), squeeze=False, width_ratios=widths, gridspec_kw={**edges, **spaces}
        )
        for row, axes in zip(rows, cells, strict=True):
            _draw_row(row, axes, columns if row is rows[0] else (), width=width)
            if lines:
                _draw_table(axes[-1], row.table, height=height / _LINE)
        title, notes, legend = heading
        write_heading(figure, title, notes, legend=legend)
        save_png(figure, path)


def _draw_row(row: _Row, axes: Any, columns: Sequence[str], *, width: int) -> None:
    for at, (pixels, cell) in enumerate(zip(row.pictures, axes, strict=False)):
        # Averaging while shrinking keeps thin classes visible; enlarged pictures keep square pixels.
        cell.imshow(pixels, interpolation="auto" if max(pixels.shape[:2]) > 480 else "nearest")
        cell.set(xticks=[], yticks=[], anchor="NW")
        cell.spines[:].set_visible(True)
        if columns:
            name = shortened(clean(columns[at]), width // 13)
            cell.set_title(f"{name}\n" if row.title else name, fontsize=10.5)
    title = shortened(clean(row.title), len(row.pictures) * width // 11)
    axes[0].annotate(title, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points")


def _draw_table(axes: Any, table: Sequence[Line], *, height: float) -> None:
    """Draw lines under their titles; the axes are `height` lines high."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(height - 0.5, -0.5))
    axes.hlines(0.5, 0, 1, color=RULE, linewidth=1)
    for place, (color, name, *numbers) in enumerate([(None, "in this image", "IoU %", "Dice %"), *table]):
        if color is not None:
            axes.plot(0.02, place, "s", color=[value / 255 for value in color], markersize=7)
        look = {"va": "center", "fontsize": 8.5, "color": INK if place else MUTED}
        look["fontweight"] = "bold" if place and color is None else "normal"
        axes.text(0.06, place, shortened(name, 22), ha="left", **look)
        for right, number in zip((0.8, 1), numbers, strict=True):
            axes.text(right, place, number, ha="right", **look)
