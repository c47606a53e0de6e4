"""Where the parts of the picture of predictions go: arithmetic on pixels, nothing is drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segtool.report.canvas import shorten, text_width
from segtool.report.pixels import panel_size
from segtool.report.tables import TableRow

MARGIN = 56
GAP = 24
ROW_GAP = 32
LINE = 27
LEGEND_LINE = 32
TABLE_SIZE = 8.5
LEGEND_SIZE = 9.0
SWATCH = 17
NUMBER_WIDTH = 78
COLUMN_GAP = 44

_BOX = 480
_LEAST_LINES = 12  # a table has at least this height before it goes on in another column
_MAX_COLUMNS = 3
_NAME_LIMIT = 230.0
_LEGEND_NAME_LIMIT = 420.0
_LEGEND_GAP = 36
_LEAST_WIDTH = 1300  # room for the notes


@dataclass(frozen=True)
class LegendEntry:
    """A colour (R, G, B), 0..255, and what it means."""

    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class TableLayout:
    """Left edge, number of columns, lines of a column under its heading, and width of the names, in pixels."""

    x: int
    columns: int
    lines: int
    name_width: int

    @property
    def column_width(self) -> int:
        """Width of one column: name and two numbers."""
        return self.name_width + 2 * NUMBER_WIDTH


@dataclass(frozen=True)
class Layout:
    """Sizes of the page, of a panel and of a row, and the top of the first row, in pixels."""

    width: int
    height: int
    panel_width: int
    panel_height: int
    row_height: int
    first_row: int
    table: TableLayout


def plan(
    image_size: Sequence[int],
    tables: Sequence[Sequence[TableRow]],
    legend: Sequence[LegendEntry],
    *,
    heading: int,
) -> Layout:
    """Return the layout for images of `image_size` (h, w), one table each, below a header of `heading` pixels."""
    height, width = panel_size(image_size[0], image_size[1], box=_BOX)
    table = _plan_table(tables, x=MARGIN + 3 * width + 2 * GAP + COLUMN_GAP, height=height)
    row = max(height, (1 + min(table.lines, max(len(rows) for rows in tables))) * LINE)
    right = table.x + table.columns * table.column_width + (table.columns - 1) * COLUMN_GAP
    page_width = max(right, _LEAST_WIDTH) + MARGIN
    legend_lines = 1 + max((line for line, _, _ in legend_places(legend, page_width)), default=0)
    first = MARGIN + heading + legend_lines * LEGEND_LINE + 64
    total = first + len(tables) * (row + ROW_GAP) - ROW_GAP + MARGIN
    return Layout(page_width, total, width, height, row, first, table)


def _plan_table(tables: Sequence[Sequence[TableRow]], *, x: int, height: int) -> TableLayout:
    """Return a table as high as the images where that needs no more than three columns, else a higher one."""
    longest = max(len(table) for table in tables)
    lines = max(height // LINE, _LEAST_LINES) - 1
    columns = min(_MAX_COLUMNS, -(-longest // lines))
    lines = max(lines, -(-longest // columns))
    widest = max(text_width(table_name(row.name), TABLE_SIZE, "bold") for table in tables for row in table)
    return TableLayout(x, columns, lines, round(widest) + SWATCH + 14)


def table_name(name: str) -> str:
    """Return the name as it stands in a table."""
    return shorten(name, TABLE_SIZE, _NAME_LIMIT)


def legend_places(legend: Sequence[LegendEntry], page_width: int) -> list[tuple[int, int, LegendEntry]]:
    """Return (line, x, entry) of each entry of the legend: on one line, or in equal columns over the page's width."""
    entries = [LegendEntry(shorten(entry.name, LEGEND_SIZE, _LEGEND_NAME_LIMIT), entry.color) for entry in legend]
    if not entries:
        return []
    widths = [round(text_width(entry.name, LEGEND_SIZE)) + SWATCH + 10 + _LEGEND_GAP for entry in entries]
    room = page_width - 2 * MARGIN + _LEGEND_GAP
    if sum(widths) <= room:
        return [(0, MARGIN + sum(widths[:index]), entry) for index, entry in enumerate(entries)]
    step = max(widths)
    columns = max(1, room // step)
    return [(index // columns, MARGIN + index % columns * step, entry) for index, entry in enumerate(entries)]
