"""Sample predictions as one picture: image, prediction and truth side by side, with each image's own scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError
from segtool.report.canvas import (
    MUTED,
    NOTE_SIZE,
    Page,
    drawable,
    drawable_names,
    header_height,
    require_matplotlib,
    shorten,
    write_header,
)
from segtool.report.layout import GAP, MARGIN, ROW_GAP, Layout, LegendEntry, legend_places, plan
from segtool.report.panel_table import draw_legend, draw_table
from segtool.report.pixels import IGNORED_COLOR, color_labels, fit, gray_to_rgb
from segtool.report.tables import TableRow, present_classes, table_rows

_MAX_LEGEND = 24  # with more classes than this only those that occur are explained
_HEADINGS = ("Image", "Prediction", "Truth")

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class _Classes:
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    background_id: int | None
    ignore_id: int | None


def plot_predictions(  # noqa: PLR0913 - three stacks of pictures and the four facts about their classes
    images: npt.NDArray[np.uint8],
    truths: Labels,
    predictions: Labels,
    path: str | Path,
    *,
    class_names: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    background_id: int | None,
    ignore_id: int | None = None,
    title: str = "Sample predictions",
    names: Sequence[str] | None = None,
) -> None:
    """Write one row an image to a PNG: image, prediction, truth, and the IoU and Dice of each class in it.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB), or (n, h, w); n from 1 on, meant for up to 16.
    truths, predictions
        Class ids (n, h, w); `truths` may hold `ignore_id`, which is drawn light grey and counts nowhere.
    path
        The PNG to write, atomically.
    class_names, palette
        Name and (red, green, blue), 0..255, of class 0, 1, ...
    background_id
        The class that the foreground mean leaves out; None for none.
    title
        Heading of the picture.
    names
        What each image is called, for the line under it; None for no such line.

    Raises
    ------
    DataError
        Shapes do not belong together, there is no image, or a class id is out of range.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    require_matplotlib()
    _check(images, truths, predictions, colors=len(palette), names=len(class_names))
    _check_range(predictions, len(palette))
    colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    classes = _Classes(drawable_names(class_names), colors, background_id, ignore_id)
    tables = [_rows(truth, prediction, classes) for truth, prediction in zip(truths, predictions, strict=True)]
    legend = _legend(classes, tables, ignored=_has_ignored(truths, ignore_id))
    notes = _notes(classes, tables, legend)
    layout = plan(images.shape[1:3], tables, legend, heading=header_height(notes))
    page = Page(layout.width, layout.height)
    write_header(page, left=MARGIN, top=MARGIN - 12, title=title, notes=notes)
    draw_legend(page, legend_places(legend, layout.width), top=MARGIN + header_height(notes))
    _draw_headings(page, layout)
    for index, table in enumerate(tables):
        y = layout.first_row + index * (layout.row_height + ROW_GAP)
        _draw_panels(page, layout, y, (images[index], predictions[index], truths[index]), classes)
        draw_table(page, layout.table, table, y=y, palette=classes.palette)
        if names is not None:
            _write_name(page, layout, y, names[index])
    page.save(path)


def _check(images: npt.NDArray[np.uint8], truths: Labels, predictions: Labels, *, colors: int, names: int) -> None:
    """Refuse arrays that do not belong together."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(f"Images are drawn from uint8 (n, h, w, 1 or 3), found {images.dtype} {images.shape}.")
    if 0 in images.shape:
        raise DataError(f"There is no image to draw in an array of shape {images.shape}; pass at least one.")
    for what, labels in (("truths", truths), ("predictions", predictions)):
        if labels.shape != images.shape[:3]:
            raise DataError(f"The {what} have shape {labels.shape}, the images need {images.shape[:3]}.")
    if colors != names:
        raise DataError(f"Every class needs a colour: found {names} class names and {colors} colours.")


def _check_range(predictions: Labels, count: int) -> None:
    """Refuse predictions that have no colour; the metrics look only where the truth counts."""
    low, high = int(predictions.min()), int(predictions.max())
    if low < 0 or high >= count:
        raise DataError(f"The predictions hold ids {low} to {high}, expected class ids 0 to {count - 1}.")


def _rows(truth: Labels, prediction: Labels, classes: _Classes) -> tuple[TableRow, ...]:
    return table_rows(
        truth,
        prediction,
        class_names=classes.names,
        background_id=classes.background_id,
        ignore_id=classes.ignore_id,
    )


def _has_ignored(truths: Labels, ignore_id: int | None) -> bool:
    return ignore_id is not None and bool((truths == ignore_id).any())


def _legend(classes: _Classes, tables: Sequence[Sequence[TableRow]], *, ignored: bool) -> tuple[LegendEntry, ...]:
    """Return the classes to explain: all of them, or those that occur where there are many."""
    every = len(classes.names) <= _MAX_LEGEND
    shown = tuple(range(len(classes.names))) if every else present_classes(tables)
    entries = [LegendEntry(classes.names[index], classes.palette[index]) for index in shown]
    if ignored:
        entries.append(LegendEntry("ignored", IGNORED_COLOR))
    return tuple(entries)


def _notes(classes: _Classes, tables: Sequence[Sequence[TableRow]], legend: Sequence[LegendEntry]) -> tuple[str, ...]:
    first = "IoU and Dice in percent, per image: from that image's own pixels, not averaged over the data set."
    parts = ["Listed are the classes in its truth or prediction"]
    if any(entry.name == "ignored" and entry.color == IGNORED_COLOR for entry in legend):
        parts.append("ignored pixels count nowhere")
    if len(classes.names) > _MAX_LEGEND:
        parts.append(f"{len(present_classes(tables))} of {len(classes.names)} classes occur here")
    return first, "; ".join(parts) + "."


def _draw_headings(page: Page, layout: Layout) -> None:
    y = layout.first_row - 24
    for index, heading in enumerate(_HEADINGS):
        page.text(MARGIN + index * (layout.panel_width + GAP), y, heading, size=10.5, weight="bold")


def _write_name(page: Page, layout: Layout, y: int, name: str) -> None:
    """Write what an image is called into the gap under its pictures."""
    text = shorten(drawable(name), NOTE_SIZE, 3 * layout.panel_width + 2 * GAP)
    page.text(MARGIN, y + layout.panel_height + ROW_GAP / 2, text, size=NOTE_SIZE, color=MUTED)


def _draw_panels(
    page: Page, layout: Layout, y: int, row: tuple[npt.NDArray[np.uint8], Labels, Labels], classes: _Classes
) -> None:
    size = (layout.panel_height, layout.panel_width)
    image, prediction, truth = row
    pictures = (
        fit(gray_to_rgb(image), size, smooth=True),
        fit(color_labels(prediction, classes.palette, ignore_id=None), size, smooth=False),
        fit(color_labels(truth, classes.palette, ignore_id=classes.ignore_id), size, smooth=False),
    )
    for index, pixels in enumerate(pictures):
        page.image(MARGIN + index * (layout.panel_width + GAP), y, pixels)
