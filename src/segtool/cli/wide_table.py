"""Tables of numbers that stay whole in a narrow terminal: too wide ones are continued below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len

from segtool.cli.common import emit_table, printable, table_width

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
