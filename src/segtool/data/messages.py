"""Words that sentences share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def some(things: Sequence[Path | str]) -> str:
    """Return the first three of several names, of paths their last part, and a sign that there are more."""
    names = [thing if isinstance(thing, str) else thing.name for thing in things[:3]]
    return ", ".join(names) + (", ..." if len(things) > 3 else "")
