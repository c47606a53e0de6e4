"""Where two models differ, as one picture: image, truth, both predictions, and which of them is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import default_palette
from segtool.data.classes import Classes
from segtool.errors import DataError
from segtool.report.canvas import Page, drawable, drawable_names, header_height, shorten, write_header
from segtool.report.layout import GAP, LEGEND_LINE, MARGIN, ROW_GAP, LegendEntry, legend_places
from segtool.report.panel_table import draw_legend
from segtool.report.pixels import IGNORED_COLOR, color_labels, fit, gray_to_rgb, panel_size

Labels = npt.NDArray[np.integer[Any]]
_BOX = 360
_TITLE_LINE = 34
_MAX_LEGEND = 24
# Told apart by those who see no red and green, and in grey: Okabe and Ito's blue, orange and vermilion on white.
_BOTH, _FIRST, _SECOND, _NEITHER = (250, 250, 250), (0, 114, 178), (230, 159, 0), (90, 30, 30)
_NOTES = ("The images with the most differing labels first; each picture at the first model's size.",)


def plot_differences(
    images: npt.NDArray[np.uint8],
    truths: Labels,
    predictions: Sequence[Labels],
    path: str | Path,
    *,
    names: Sequence[str],
    titles: Sequence[str],
    classes: Classes,
) -> None:
    """Write one row an image to a PNG: image, truth, both predictions, and which model is right where.

    Parameters
    ----------
    images
        uint8 (n, h, w, C) with C 1 (grey) or 3 (RGB); n from 1 on, meant for up to 16.
    truths
        Class ids (n, h, w); the classes' ignore id is drawn light grey.
    predictions
        Class ids (n, h, w) of the first and of the second model.
    path
        The PNG to write, atomically.
    names, titles
        What the two models are called; what is written above each row.
    classes
        What the ids are.

    Raises
    ------
    DataError
        Shapes do not belong together, or there is no image.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    if not len(images) or any(labels.shape != images.shape[:3] for labels in (truths, *predictions)):
        shapes = [labels.shape for labels in (truths, *predictions)]
        raise DataError(f"Label maps of shapes {shapes} do not belong to images of shape {images.shape}.")
    height, width = panel_size(*images.shape[1:3], box=_BOX)
    legend = _legend(classes, names)
    page_width = 2 * MARGIN + 5 * width + 4 * GAP
    lines = 1 + max(line for line, _, _ in legend_places(legend, page_width))
    first_row = MARGIN + header_height(_NOTES) + lines * LEGEND_LINE + 48
    page = Page(page_width, first_row + len(images) * (_TITLE_LINE + height + ROW_GAP) - ROW_GAP + MARGIN)
    title = f"Where {names[0]} and {names[1]} differ"
    write_header(page, left=MARGIN, top=MARGIN - 12, title=title, notes=_NOTES)
    draw_legend(page, legend_places(legend, page_width), top=MARGIN + header_height(_NOTES))
    for column, heading in enumerate(("Image", "Truth", *names, "Who is right")):
        text = shorten(drawable(heading), 10.5, width, "bold")
        page.text(MARGIN + column * (width + GAP), first_row - 24, text, size=10.5, weight="bold")
    for row, (image, truth, *labels) in enumerate(zip(images, truths, *predictions, strict=True)):
        y = first_row + row * (_TITLE_LINE + height + ROW_GAP)
        page.text(MARGIN, y + _TITLE_LINE / 2, shorten(drawable(titles[row]), 9, page_width - 2 * MARGIN), size=9)
        for column, pixels in enumerate(_pictures(image, truth, labels, classes)):
            shown = fit(pixels, (height, width), smooth=column == 0)
            page.image(MARGIN + column * (width + GAP), y + _TITLE_LINE, shown)
    page.save(path)


def _pictures(
    image: npt.NDArray[np.uint8], truth: Labels, labels: Sequence[Labels], classes: Classes
) -> list[npt.NDArray[np.uint8]]:
    palette = default_palette(len(classes.names), background_id=classes.background_id)
    return [
        gray_to_rgb(image),
        color_labels(truth, palette, ignore_id=classes.ignore_id),
        *(color_labels(each, palette, ignore_id=None) for each in labels),
        who_is_right(truth, labels[0], labels[1], ignore_id=classes.ignore_id),
    ]


def who_is_right(truth: Labels, first: Labels, second: Labels, *, ignore_id: int | None) -> npt.NDArray[np.uint8]:
    """Return a picture uint8 (h, w, 3) of which of two label maps has the true class where; ignored pixels grey."""
    palette: npt.NDArray[np.uint8] = np.asarray([_NEITHER, _FIRST, _SECOND, _BOTH, IGNORED_COLOR], np.uint8)
    states = (first == truth).astype(np.intp) + 2 * (second == truth)
    if ignore_id is not None:
        states[truth == ignore_id] = 4
    picture: npt.NDArray[np.uint8] = palette[states]
    return picture


def _legend(classes: Classes, names: Sequence[str]) -> list[LegendEntry]:
    entries = [
        LegendEntry("both are right", _BOTH),
        LegendEntry(f"only {drawable(names[0])} is", _FIRST),
        LegendEntry(f"only {drawable(names[1])} is", _SECOND),
        LegendEntry("neither is", _NEITHER),
    ]
    if classes.ignore_id is not None:
        entries.append(LegendEntry("ignored", IGNORED_COLOR))
    if len(classes.names) <= _MAX_LEGEND:
        palette = default_palette(len(classes.names), background_id=classes.background_id)
        entries += [LegendEntry(*pair) for pair in zip(drawable_names(classes.names), palette, strict=True)]
    return entries
