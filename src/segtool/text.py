"""Format numbers and names for people: percentages, times, sizes, shortened names.

All commands, tables, pictures and pages use these functions. The module imports nothing heavy, so each layer may use
it.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Sequence
from pathlib import Path

MINUS = "\u2212"
NONE = "\u2013"
"""The text for a missing value on a page."""

HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and newline, text direction marks, lone surrogates."""


def clean(text: object) -> str:
    """Return text without control characters, lone surrogates and direction marks.

    These cannot be written in UTF-8, or can make a name look like another one.
    """
    return HOSTILE.sub("\ufffd", str(text))


def decoded(raw: bytes) -> str:
    """Return the text of a file: UTF-8, UTF-16 with its mark or without, or else the code page of Western Europe."""
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return raw.decode("utf-16", errors="replace")
    if 0 in raw[:2]:
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def percent(share: float | None, digits: int = 2, *, none: str = "-") -> str:
    """Return a fraction 0..1 as a percentage; `none` for None and NaN. A fraction below 1 is never shown as 100.

    >>> percent(0.5), percent(0.99999), percent(1)
    ('50.00', '99.99', '100')
    """
    if share is None or math.isnan(share):
        return none
    if share == 1:
        return "100"
    text = f"{100 * share:.{digits}f}"
    if share < 1 and float(text) >= 100:
        return f"{100 - 10**-digits:.{digits}f}"
    return text


def points(difference: float | None, digits: int = 2) -> str:
    """Return a difference in percentage points, with its sign."""
    if difference is None or math.isnan(difference):
        return NONE
    text = f"{abs(difference):.{digits}f}"
    if float(text) == 0:
        return f"\u00b1{text} points"
    return f"{'+' if difference > 0 else MINUS}{text} points"


def milliseconds(value: float | None) -> str:
    """Return a time with its unit, with three digits."""
    if value is None:
        return NONE
    return f"{value / 1e3:.2f} s" if value >= 1e4 else f"{figures(value)} ms"


def figures(value: float | None) -> str:
    """Return a number with three digits, without an exponent."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def megabytes(count: float | None) -> str:
    """Return bytes as megabytes of 10^6 bytes."""
    return NONE if count is None else f"{count / 1e6:.2f}"


def whole(count: float | None) -> str:
    """Return a rounded count in groups of three digits."""
    return NONE if count is None else f"{round(count):,}"


def threads(count: int | None) -> str:
    """Return a number of threads as text."""
    return "its own threads" if count is None else "one thread" if count == 1 else f"{count} threads"


def data_name(spec: str) -> str:
    """Return the last part of a data set's spec, because the full path would be too long."""
    return spec.rstrip("/").rsplit("/", maxsplit=1)[-1] or spec


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters; a longer text is cut in the middle, because paths differ at both ends."""
    if len(text) <= limit:
        return text
    kept = max(limit - 1, 2)
    return f"{text[: kept // 3]}…{text[-(kept - kept // 3) :]}"


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest names that differ: the file names, with their folders, or the full paths.

    >>> short_names([Path("a/model.onnx"), Path("a/model.int8.onnx")])
    ['model.onnx', 'model.int8.onnx']
    >>> short_names([Path("a/model.onnx"), Path("b/model.onnx")])
    ['a/model.onnx', 'b/model.onnx']
    """
    for names in ([path.name for path in paths], [f"{path.resolve().parent.name}/{path.name}" for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def counted(number: float, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 classes", "1,500,000 pixels"."""
    shown = f"{int(number):,}" if number == int(number) else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return the first of several names, and the number of the others.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def some(things: Sequence[Path | str]) -> str:
    """Return the first three of several names, of paths their last part, and a sign that there are more."""
    names = [thing if isinstance(thing, str) else thing.name for thing in things[:3]]
    return ", ".join(names) + (", ..." if len(things) > 3 else "")
