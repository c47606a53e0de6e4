"""Messages for arguments that match no image."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from segtool.errors import DataError
from segtool.predict.manifest import Entry
from segtool.text import clean, shortened

_MOST_NAMES = 3
_MOST_CHARACTERS, _MOST_ESCAPED = 300, 40


def nothing_found(inputs: Sequence[str], *, expected: str = "image files, folders of them, or patterns") -> DataError:
    """Return the error for arguments of which none matches an image, with the reason for each of the first."""
    reasons = ", ".join(map(_reason, inputs[:_MOST_NAMES])) or "no input was given"
    left = len(inputs) - _MOST_NAMES
    more = f", and {left:,} more" if left > 0 else ""
    return DataError(f"No image was found: {reasons}{more}; expected {expected}.")


def missing_entry(text: str) -> Entry:
    """Return the failed entry of an argument that matches nothing."""
    expected = "expected an image file, a folder of them, or a pattern that matches some"
    return Entry(text, status="failed", error=f"{_reason(text)}; {expected}.")


def _reason(text: str) -> str:
    """Return an argument, and the reason why it matches no image."""
    shown = shortened(clean(text), _MOST_CHARACTERS if text.isprintable() else _MOST_ESCAPED)
    # os.path instead of Path, which raises on names that are too long or contain a NUL.
    if os.path.isdir(text):  # noqa: PTH112
        return f"{shown} contains no image files (.npy files in a folder must be named one by one)"
    if os.path.islink(text):  # noqa: PTH114
        return f"{shown} is a broken link"
    return f"{shown} matches no file" if glob.has_magic(text) else f"{shown} does not exist"
