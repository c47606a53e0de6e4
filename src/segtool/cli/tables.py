"""Tables on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from segtool.cli.common import printable, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Columns = Mapping[str, Callable[[Any], object]]

_MOST_UNUSED = 8  # classes
_LEAST_NAME = 16  # minimum width of the first column, in characters; its cells may wrap
_UNLIMITED = 100_000  # characters


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
    cells = [[printable(str(cell)) for cell in column] for column in zip(columns, *rows, strict=True)]
    if title:
        console.print(printable(title), markup=False, soft_wrap=True)
    if text:
        console.print(_table(cells, text=True))
        return
    part = cells[:2]
    for column in cells[2:]:
        if not _fits(console, [*part, column]):
            console.print(_table(part, whole=_fits(console, part)))
            part = cells[:1]
        part = [*part, column]
    console.print(_table(part, whole=_fits(console, part)))


def emit_rows(columns: Columns, rows: Sequence[Any], *, title: str | None = None) -> None:
    """Print a table of numbers; `columns` maps each heading to the function that returns its cell of a row."""
    emit_table(list(columns), [[cell(row) for cell in columns.values()] for row in rows], title=title)


def emit_facts(facts: Mapping[str, object]) -> None:
    """Print a row for each fact: its key as words, and its value."""
    emit_table(["fact", "value"], [[key.replace("_", " "), as_words(value)] for key, value in facts.items()], text=True)


def as_words(value: object) -> str:
    """Return a value of the JSON as text."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list):
        return ", ".join(map(as_words, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def without_unused(classes: Sequence[Any], is_used: Callable[[Any], bool]) -> Sequence[Any]:
    """Return the classes that are used, and print the number of the others if they are many; else return all."""
    used = list(filter(is_used, classes))
    left_out = len(classes) - len(used)
    if left_out <= _MOST_UNUSED:
        return classes
    say(f"{left_out} classes that occur nowhere are left out of the table; --json lists them.")
    return used


def _fits(console: Console, cells: Sequence[Sequence[str]]) -> bool:
    """Return whether these columns fit, if only the first one wraps."""
    from rich.measure import Measurement

    table = _table(cells, widest_name=_LEAST_NAME)
    return Measurement.get(console, console.options.update(width=_UNLIMITED), table).maximum <= console.width


def _table(
    cells: Sequence[Sequence[str]], *, text: bool = False, whole: bool = False, widest_name: int | None = None
) -> Table:
    """Return the table of these columns, each with its heading first; `whole` numbers do not wrap."""
    from rich.table import Table
    from rich.text import Text

    name, *figures = ([Text(cell) for cell in column] for column in cells)
    table = Table(header_style="bold")
    table.add_column(name[0], overflow="fold", max_width=widest_name)
    for heading, *_ in figures:
        table.add_column(heading, justify="left" if text else "right", overflow="fold", no_wrap=whole)
    for row in list(zip(name, *figures, strict=True))[1:]:
        table.add_row(*row)
    return table


def _console() -> Console:
    """Return the console of stdout: the width of COLUMNS or the terminal, 120 characters for a file or a pipe."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    return Console(file=sys.stdout, highlight=False, emoji=False, width=None if known else 120)
