"""Numbers as they are written in a report."""

from __future__ import annotations

import math

NONE, MINUS, TIMES = "\u2013", "\u2212", "\u00d7"  # what stands for a missing value; the signs


def percent(share: float | None, digits: int = 2) -> str:
    """Return a share as a percentage; a dash where there is none, and never 100 where something is missing."""
    if share is None or math.isnan(share):
        return NONE
    if share == 1:
        return "100"
    text = f"{100 * share:.{digits}f}"
    if share < 1 and float(text) >= 100:
        return f"{100 - 10**-digits:.{digits}f}"
    return text


def points(difference: float | None, digits: int = 2) -> str:
    """Return a difference in points of a hundred, with its sign."""
    if difference is None or math.isnan(difference):
        return NONE
    text = f"{abs(difference):.{digits}f}"
    if float(text) == 0:
        return f"\u00b1{text} points"
    return f"{'+' if difference > 0 else MINUS}{text} points"


def milliseconds(value: float | None) -> str:
    """Return a time with its unit, to three digits."""
    if value is None:
        return NONE
    return f"{value / 1e3:.2f} s" if value >= 1e4 else f"{figures(value)} ms"


def figures(value: float | None) -> str:
    """Return a number to three digits, without an exponent."""
    if value is None or math.isnan(value):
        return NONE
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def megabytes(count: int | float | None) -> str:
    """Return bytes as megabytes of 10^6 bytes."""
    return NONE if count is None else f"{count / 1e6:.2f}"


def threads(count: int | None) -> str:
    """Return a number of threads in words."""
    return "its own threads" if count is None else "one thread" if count == 1 else f"{count} threads"


def data_name(spec: str) -> str:
    """Return the last part of a data set's spec, where the whole path would be too long to read."""
    return spec.rstrip("/").rsplit("/", maxsplit=1)[-1] or spec


def count_of(images: int) -> str:
    """Return a number of images in words."""
    return "1 image" if images == 1 else f"{images:,} images"


def whole(count: int | None) -> str:
    """Return a whole number in groups of three digits."""
    return NONE if count is None else f"{count:,}"
