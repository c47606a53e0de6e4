"""Rows of pictures under a heading and a legend, for pictures of predictions and of differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.report.style import (
    INK,
    MARGIN,
    MUTED,
    RULE,
    drawable,
    heading_height,
    new_figure,
    save_png,
    style,
    write_heading,
)
from segtool.text import shortened

Color = tuple[int, int, int]
MAX_LEGEND = 24
"""With more classes than this, the legend has only those that occur."""

_GAP = 28  # pixels between pictures
_LEGEND_LINE = 26
_LINE = 27  # height of a table line in pixels
_TABLE_WIDTH = 400
_LEAST_LINES, _MOST_COLUMNS = 12, 3
_LEAST_WIDTH, _LEAST_PANEL = 1300, 170  # room for the notes and the column headings
_CHARACTER = 12  # upper bound of the width of a legend character in pixels


@dataclass(frozen=True)
class Row:
    """A row of pictures uint8 (h, w, 3), the title above them, and a table beside them.

    A line of the table is (colour, name, numbers as text); the colour None makes the line bold.
    """

    pictures: Sequence[npt.NDArray[np.uint8]]
    title: str = ""
    table: Sequence[tuple[Color | None, str, Sequence[str]]] = ()


@dataclass(frozen=True)
class Heading:
    """The heading above all rows: title, notes, legend of (name, colour), column names, and titles of the table."""

    title: str
    notes: Sequence[str]
    legend: Sequence[tuple[str, Color]]
    columns: Sequence[str]
    table: Sequence[str] = ()


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
    width = max(width, _LEAST_PANEL)
    columns, lines = _table_shape(rows, height)
    row_height = max(height, _LINE * (lines + 1)) + _GAP + (_LINE if any(row.title for row in rows) else 0)
    pictures = len(heading.columns) * (width + _GAP)
    page_width = max(_LEAST_WIDTH, pictures + columns * (_TABLE_WIDTH + _GAP) + 2 * MARGIN)
    across = _legend_columns([name for name, _ in heading.legend], page_width - 2 * MARGIN)
    legend_height = _LEGEND_LINE * -(-len(heading.legend) // across)
    total = heading_height(heading.notes) + legend_height + len(rows) * row_height + 2 * MARGIN
    with style():
        figure = new_figure(page_width, total)
        write_heading(figure, heading.title, heading.notes, room=legend_height + 16)
        _draw_legend(figure, heading, across)
        ratios = [width] * len(heading.columns) + [_TABLE_WIDTH] * columns
        cells = figure.subplots(len(rows), len(ratios), squeeze=False, width_ratios=ratios)
        for row, axes in zip(rows, cells, strict=True):
            _draw_row(row, axes, heading.columns if row is rows[0] else (), panel=width, width=pictures)
            for at in range(columns):
                part = row.table[at * lines : (at + 1) * lines]
                _draw_table(axes[len(row.pictures) + at], heading.table, part, max(lines, height // _LINE - 1))
        save_png(figure, path)


def _panel_size(pixels: npt.NDArray[np.uint8], box: int) -> tuple[int, int]:
    """Return (width, height) in pixels that fill a square of `box` pixels; small pictures grow by whole factors."""
    height, width = pixels.shape[:2]
    factor = box / max(height, width)
    if factor >= 3:
        factor = int(factor)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _table_shape(rows: Sequence[Row], height: int) -> tuple[int, int]:
    """Return columns and lines of the tables: at the height of the pictures if at most three columns suffice."""
    longest = max(len(row.table) for row in rows)
    if not longest:
        return 0, 0
    lines = max(height // _LINE, _LEAST_LINES)
    columns = min(_MOST_COLUMNS, -(-longest // lines))
    return columns, min(longest, max(lines, -(-longest // columns)))


def _legend_columns(names: Sequence[str], width: int) -> int:
    """Return the number of columns of a legend: all names on one line if they fit, else by the longest name."""
    widths = [_CHARACTER * len(name) + 62 for name in names] or [0]
    return max(1, len(names) if sum(widths) <= width else width // max(widths))


def _draw_legend(figure: Any, heading: Heading, across: int) -> None:
    """Draw the colours with their names below the notes, in at most `across` columns."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=_rgb(color), edgecolor=RULE, label=drawable(name)) for name, color in heading.legend]
    look = {"handlelength": 1, "handleheight": 1, "columnspacing": 1.6, "borderpad": 0, "borderaxespad": 0}
    width, height = figure.bbox.size
    corner = MARGIN / width, 1 - (heading_height(heading.notes) - 4) / height
    place = {"loc": "upper left", "bbox_to_anchor": corner, "ncols": min(across, max(1, len(handles)))}
    figure.legend(handles=handles, **place, **look)


def _draw_row(row: Row, axes: Any, columns: Sequence[str], *, panel: int, width: int) -> None:
    for at, (pixels, cell) in enumerate(zip(row.pictures, axes, strict=False)):
        # Averaging while shrinking keeps thin classes visible; enlarged pictures keep square pixels.
        cell.imshow(pixels, interpolation="auto" if max(pixels.shape[:2]) > 480 else "nearest")
        cell.set(xticks=[], yticks=[], anchor="NW")
        cell.spines[:].set_visible(True)
        name = f"{shortened(drawable(columns[at]), panel // 13)}\n" if columns else ""
        cell.set_title(name, fontsize=10.5)
    title = shortened(drawable(row.title), width // 11)
    axes[0].annotate(title, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points").set_in_layout(False)


def _draw_table(
    axes: Any, titles: Sequence[str], lines: Sequence[tuple[Color | None, str, Sequence[str]]], most: int
) -> None:
    """Draw lines under their titles; `most` lines fill the axes."""
    axes.axis("off")
    if not lines:
        return
    table = axes.table(
        [["", *titles], *(["", shortened(name, 22), *numbers] for _, name, numbers in lines)],
        colWidths=[0.05, 0.55, 0.2, 0.2],
        cellLoc="right",
        bbox=(0, 1 - (len(lines) + 1) / (most + 1), 1, (len(lines) + 1) / (most + 1)),
    )
    table.set_in_layout(False)
    table.auto_set_font_size(False)
    for (line, column), cell in table.get_celld().items():
        color = lines[line - 1][0] if line else None
        bold = line > 0 and color is None
        cell.visible_edges = "B" if line == 0 else "closed" if column == 0 and color is not None else ""
        cell.set(edgecolor=RULE if line == 0 else "white")
        if column == 0 and color is not None:
            cell.set(facecolor=_rgb(color), linewidth=2.5)
        weight = "bold" if bold else "normal"
        cell.get_text().set(fontsize=8.5, color=INK if line else MUTED, fontweight=weight)
        if column == 1:
            cell.get_text().set_ha("left")


def _rgb(color: Color) -> tuple[float, ...]:
    return tuple(value / 255 for value in color)
