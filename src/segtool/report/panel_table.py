"""The text of the picture of predictions: the table beside each image, and the legend."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.report.canvas import INK, MUTED, RULE, Page
from segtool.report.layout import (
    COLUMN_GAP,
    LEGEND_LINE,
    LEGEND_SIZE,
    LINE,
    NUMBER_WIDTH,
    SWATCH,
    TABLE_SIZE,
    LegendEntry,
    TableLayout,
    table_name,
)
from segtool.report.tables import TableRow, percent

Palette = Sequence[tuple[int, int, int]]


def draw_table(page: Page, table: TableLayout, rows: Sequence[TableRow], *, y: int, palette: Palette) -> None:
    """Draw the rows of one image, from `y` down, going on in the next column where one is full."""
    for column in range(-(-len(rows) // table.lines)):
        x = table.x + column * (table.column_width + COLUMN_GAP)
        _draw_heading(page, table, x, y)
        for line, row in enumerate(rows[column * table.lines : (column + 1) * table.lines]):
            _draw_row(page, table, row, x=x, y=y + (line + 1.5) * LINE, palette=palette)


def draw_legend(page: Page, places: Sequence[tuple[int, int, LegendEntry]], *, top: int) -> None:
    """Draw the colour and the name of each entry."""
    for line, x, entry in places:
        y = top + (line + 0.5) * LEGEND_LINE
        page.swatch(x, y, SWATCH, entry.color)
        page.text(x + SWATCH + 10, y, entry.name, size=LEGEND_SIZE)


def _draw_heading(page: Page, table: TableLayout, x: float, y: float) -> None:
    middle = y + LINE / 2
    page.text(x, middle, "in this image", size=TABLE_SIZE, color=MUTED)
    _draw_numbers(page, table, ("IoU %", "Dice %"), x=x, y=middle, color=MUTED, weight="normal")
    page.box(x, y + LINE - 1, table.column_width, 1, facecolor=RULE, linewidth=0)


def _draw_row(page: Page, table: TableLayout, row: TableRow, *, x: float, y: float, palette: Palette) -> None:
    weight = "bold" if row.class_id is None else "normal"
    indent = 0
    if row.class_id is not None:
        page.swatch(x, y, SWATCH, palette[row.class_id])
        indent = SWATCH + 10
    page.text(x + indent, y, table_name(row.name), size=TABLE_SIZE, weight=weight)
    _draw_numbers(page, table, (percent(row.iou), percent(row.dice)), x=x, y=y, color=INK, weight=weight)


def _draw_numbers(
    page: Page, table: TableLayout, numbers: tuple[str, str], *, x: float, y: float, color: str, weight: str
) -> None:
    for index, number in enumerate(numbers):
        right = x + table.name_width + (index + 1) * NUMBER_WIDTH
        page.text(right, y, number, size=TABLE_SIZE, ha="right", color=color, weight=weight)
