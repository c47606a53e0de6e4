"""Tables of numbers that stay whole in a narrow terminal: continued below, or on their side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from segtool.cli.common import emit_table, output_console, print_tables, printable, table_of, table_width
from segtool.text import shortened

_LEAST_NAME = 16  # what the first column, of which words may wrap, is left at least
_BORDER = 3  # of each column


def emit_numbers(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str) -> None:
    """Print a table on stdout in which no number wraps.

    Parameters
    ----------
    columns
        Headings, which may have several lines; the first is that of the names.
    rows
        A name and numbers. Where they are too wide together, the table is continued below, with the names again.
    title
        What stands above it.
    """
    width = table_width()
    for at, part in enumerate(parts_that_fit(columns, rows, width)):
        emit_table(
            [columns[0], *(columns[column] for column in part)],
            [[row[0], *(row[column] for column in part)] for row in rows],
            title=None if at else title,
            whole=_needed(columns, rows, part) <= width,
        )


def parts_that_fit(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> list[list[int]]:
    """Return which columns after the first go together in tables of at most `width` characters.

    The columns keep their order, and are shared out evenly where that fits; a column that is too wide is alone.
    """
    parts: list[list[int]] = []
    for column in range(1, len(columns)):
        if parts and _needed(columns, rows, [*parts[-1], column]) <= width:
            parts[-1].append(column)
        else:
            parts.append([column])
    step = math.ceil((len(columns) - 1) / len(parts))
    even = [list(range(start, min(start + step, len(columns)))) for start in range(1, len(columns), step)]
    return even if all(_needed(columns, rows, part) <= width for part in even) else parts


def _needed(columns: Sequence[str], rows: Sequence[Sequence[object]], part: Sequence[int]) -> int:
    """Return the least width of a table of the names and some columns."""
    name = min(_LEAST_NAME, _width(columns, rows, 0))
    return name + sum(_width(columns, rows, column) for column in part) + _BORDER * (len(part) + 1) + 1


def _width(columns: Sequence[str], rows: Sequence[Sequence[object]], column: int) -> int:
    cells = [*columns[column].split("\n"), *(printable(str(row[column])) for row in rows)]
    return max(cell_len(cell) for cell in cells)


def emit_turning(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str) -> None:
    """Print a table of few rows and many columns on stdout, on its side where it is too wide, a column each row.

    Rows that do not fit beside each other go into several tables.
    """
    console = output_console()
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    table = table_of(columns, cells)
    print_tables([table] if _fits(table, console) else _on_their_side(columns, cells, console), title=title)


def _fits(table: Table, console: Console) -> bool:
    """Tell whether a table can be printed without a line break in a cell."""
    return console.measure(table, options=console.options.update(max_width=10_000)).maximum <= console.width


def _on_their_side(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> list[Table]:
    """Return tables with a column for each row, as many beside each other as fit; one too wide alone is shortened."""
    left, tables = list(rows), []
    while left:
        turned = [_turned(columns, left[:count]) for count in range(len(left), 0, -1)]
        table = next((each for each in turned if _fits(each, console)), None)
        if table is None:
            room = console.width - max(map(len, columns)) - 7  # two columns have three lines and four spaces
            table = _turned(columns, [[shortened(cell, room) for cell in left[0]]])
        tables.append(table)
        left = left[len(table.columns) - 1 :]
    return tables


def _turned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    head, *body = zip(*rows, strict=True)
    return table_of([columns[0], *head], [[name, *cells] for name, cells in zip(columns[1:], body, strict=True)])
