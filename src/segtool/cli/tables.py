"""Tables on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segtool.cli.common import printable

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

_LEAST_NAME = 16  # minimum width of the first column, in characters; its cells may wrap
_BORDER = 3  # width of the borders of a column, in characters


def emit_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None, text: bool = False
) -> None:
    """Print a table on stdout.

    Parameters
    ----------
    columns
        Column headings, of one or several lines.
    rows
        Cells. Cells after the first column are numbers, aligned to the right and never wrapped. A table that is too
        wide for the terminal continues below, with the first column repeated. A single cell that is too wide is
        folded; nothing is cut off.
    title
        Printed above the table.
    text
        Whether all columns are text, aligned to the left and wrapped if the table is too wide.
    """
    console = _console()
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if title:
        console.print(printable(title), markup=False, soft_wrap=True)
    parts = [list(range(1, len(columns)))] if text else parts_that_fit(columns, cells, console.width)
    for part in parts:
        whole = not text and _needed(columns, cells, part) <= console.width
        console.print(_table(columns, cells, [0, *part], text=text, whole=whole))


def parts_that_fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Group the columns after the first, in order, into tables of at most `width` characters."""
    parts: list[list[int]] = [[]]
    for at in range(1, len(columns)):
        if parts[-1] and _needed(columns, rows, [*parts[-1], at]) > width:
            parts.append([])
        parts[-1].append(at)
    return parts


def _needed(columns: Sequence[str], rows: Sequence[Sequence[str]], part: Sequence[int]) -> int:
    """Return the minimum width, in characters, of a table of the first column and `part`."""
    from rich.cells import cell_len

    texts = {at: [*columns[at].split("\n"), *(row[at] for row in rows)] for at in (0, *part)}
    widths = {at: max(map(cell_len, lines)) for at, lines in texts.items()}
    widths[0] = min(widths[0], _LEAST_NAME)
    return sum(widths.values()) + _BORDER * len(widths) + 1


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], chosen: Sequence[int], *, text: bool, whole: bool
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for at in chosen:
        justify: JustifyMethod = "left" if text or at == 0 else "right"
        table.add_column(Text(columns[at]), justify=justify, overflow="fold", no_wrap=whole and at > 0)
    for row in rows:
        table.add_row(*(Text(row[at]) for at in chosen))
    return table


def _console() -> Console:
    """Return the console of stdout: the width of COLUMNS or the terminal, 120 characters for a file or a pipe."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(file=sys.stdout, highlight=False, emoji=False, width=None if known else 120)
