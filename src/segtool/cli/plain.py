"""Text and tables for files and pipes, as rich writes them there; a device is spared its import, a tenth of a start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

# With one of these, rich may take a file for a terminal.
_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS")


def is_plain(stream: TextIO | None) -> bool:
    """Tell whether rich would write to a stream without styles, and any character."""
    if stream is None or any(name in os.environ for name in _VARIABLES):
        return False
    encoding = getattr(stream, "encoding", None) or ""
    return encoding.lower().replace("-", "") == "utf8" and not stream.isatty()


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool, width: int) -> str | None:
    """Return the lines of a table; None where that takes more than laying letters side by side.

    Parameters
    ----------
    columns, rows, text
        As in `segtool.cli.common.emit_table`.
    width
        Characters that a line may have.
    """
    cells = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    letters = "".join(cell for row in cells for cell in row)
    if not rows or sum(widths) + 3 * len(widths) + 1 > width or not (letters.isascii() and letters.isprintable()):
        return None
    head, *body = (_row(row, widths, text=text) for row in cells)
    return "\n".join(
        [
            _line("┏━┳┓", widths),
            head.replace("│", "┃"),
            _line("┡━╇┩", widths),
            *body,
            _line("└─┴┘", widths),
        ]
    )


def _row(cells: Sequence[str], widths: Sequence[int], *, text: bool) -> str:
    padded = [
        cell.ljust(width) if index == 0 or text else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"│ {' │ '.join(padded)} │"


def _line(parts: str, widths: Sequence[int]) -> str:
    """Return a line of first, filling, between and last character."""
    return parts[0] + parts[2].join(parts[1] * (width + 2) for width in widths) + parts[3]
