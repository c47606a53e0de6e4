"""Images and label maps as pixels, and rows of such pictures under a heading in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segtool.array_types import UInt8Array
from segtool.report.style import INK, MARGIN, MUTED, RULE, Color, new_figure, save_png, style, write_heading
from segtool.text import clean, shortened

Line = tuple[Color | None, str, Sequence[str]]
"""A line of a table: colour, name, numbers as text. The colour None makes it bold."""

IGNORED_COLOR = (222, 222, 222)

_GAP = 20  # pixels between pictures
_LINE = 27  # height of a line of text in pixels
_TABLE_WIDTH = 400
_LEAST_LINES, _MOST_TABLES = 12, 3
_LEAST_PANEL = 170  # room for the column headings


@dataclass(frozen=True)
class Row:
    """A row of pictures uint8 (h, w, 3), the title above them, and a table beside them."""

    pictures: Sequence[UInt8Array]
    title: str = ""
    table: Sequence[Line] = ()


@dataclass(frozen=True)
class Heading:
    """The heading above all rows: title, notes, legend of (name, colour), column names, and titles of the table."""

    title: str
    notes: Sequence[str]
    legend: Sequence[tuple[str, Color]]
    columns: Sequence[str]
    table: Sequence[str] = ()


def gray_to_rgb(image: UInt8Array) -> UInt8Array:
    """Return a uint8 image (h, w), (h, w, 1) or (h, w, 3) as (h, w, 3)."""
    if image.ndim == 2:
        image = image[..., np.newaxis]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def color_labels(
    labels: npt.NDArray[np.integer[Any]], palette: Sequence[Color], *, ignore_id: int | None
) -> UInt8Array:
    """Return the colours of class ids (h, w) as uint8 (h, w, 3); pixels of `ignore_id` are light grey.

    The ids must be below ``len(palette)`` or equal to `ignore_id`.
    """
    colors: UInt8Array = np.asarray([*palette, IGNORED_COLOR], dtype=np.uint8)
    indices = labels if ignore_id is None else np.where(labels == ignore_id, len(palette), labels)
    return np.take(colors, indices, axis=0)


def fit(pixels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Return uint8 (h, w, 3) `pixels` at `size` (height, width).

    Shrinking averages areas, so that thin classes stay visible. Enlarging keeps square pixels for a whole factor, and
    interpolates for another factor.
    """
    height, width = size
    if (height, width) == pixels.shape[:2]:
        return pixels
    whole = height % pixels.shape[0] == 0 and width % pixels.shape[1] == 0
    if height < pixels.shape[0] or width < pixels.shape[1]:
        method = Image.Resampling.BOX
    else:
        method = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((width, height), method))


def draw_grid(rows: Sequence[Row], heading: Heading, path: str | Path, *, box: int) -> None:
    """Write rows of pictures to a PNG, atomically; each picture fills a square of about `box` pixels.

    Raises
    ------
    DataError
        The picture is too large to draw.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    width, height = _panel_size(rows[0].pictures[0], box)
    longest = max(len(row.table) for row in rows)
    fitting = max(height // _LINE - 1, _LEAST_LINES)
    tables = min(_MOST_TABLES, -(-longest // fitting))
    lines = max(fitting, -(-longest // max(tables, 1)))
    height = max(height, _LINE * (lines + 1)) if tables else height
    widths = [max(width, _LEAST_PANEL)] * len(heading.columns) + [_TABLE_WIDTH] * tables
    gap = _GAP + (_LINE if any(row.title for row in rows) else 0)
    page = sum(widths) + _GAP * (len(widths) - 1), len(rows) * (height + gap) - gap
    spaces = {"wspace": _GAP * len(widths) / sum(widths), "hspace": gap / height}
    with style():
        figure = new_figure(*page, layout=None)
        edges = {"left": 0, "right": 1, "bottom": 0, "top": 1, **spaces}
        cells = figure.subplots(len(rows), len(widths), squeeze=False, width_ratios=widths, gridspec_kw=edges)
        for row, axes in zip(rows, cells, strict=True):
            _draw_row(row, axes, heading.columns if row is rows[0] else (), width=widths[0])
            for at in range(tables):
                part = row.table[at * lines : (at + 1) * lines]
                _draw_table(axes[len(row.pictures) + at], heading.table, part, height=height / _LINE)
        write_heading(figure, heading.title, heading.notes, legend=heading.legend)
        save_png(figure, path, margin=MARGIN)


def _panel_size(pixels: UInt8Array, box: int) -> tuple[int, int]:
    """Return (width, height) in pixels that fill a square of `box` pixels; small pictures grow by whole factors."""
    height, width = pixels.shape[:2]
    factor = box / max(height, width)
    if factor >= 3:
        factor = int(factor)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _draw_row(row: Row, axes: Any, columns: Sequence[str], *, width: int) -> None:
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


def _draw_table(axes: Any, titles: Sequence[str], lines: Sequence[Line], *, height: float) -> None:
    """Draw lines under their titles; the axes are `height` lines high."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(height - 0.5, -0.5))
    if not lines:
        return
    axes.hlines(0.5, 0, 1, color=RULE, linewidth=1)
    table = [(None, titles[0], titles[1:]), *lines]
    for place, (color, name, numbers) in enumerate(table):
        if color is not None:
            axes.plot(0.02, place, "s", color=[value / 255 for value in color], markersize=7)
        look = {"va": "center", "fontsize": 8.5, "color": INK if place else MUTED}
        look["fontweight"] = "bold" if place and color is None else "normal"
        axes.text(0.06, place, shortened(name, 22), ha="left", **look)
        for right, number in zip((0.8, 1), numbers, strict=True):
            axes.text(right, place, number, ha="right", **look)
