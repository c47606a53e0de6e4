"""Messages for arguments that match no image."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from segtool.errors import DataError
from segtool.predict.manifest import Entry

_EXPECTED = "expected image files, folders of them, or patterns"
_MOST_NAMES = 3
_MOST_CHARACTERS, _MOST_ESCAPED = 300, 40


def nothing_found(inputs: Sequence[str]) -> DataError:
    """Return the error for arguments of which none matches an image, with the reason for each."""
    if all(map(_is_pattern, inputs)):
        return DataError(f"No image was found in {named(inputs) or 'nothing'}; {_EXPECTED}.")
    reasons = [f"{_shown(text)} {_why_missing(text)}" for text in inputs[:_MOST_NAMES]]
    return DataError(f"No image was found: {', '.join(reasons)}{_more(inputs)}; {_EXPECTED}.")


def missing_entry(text: str) -> Entry:
    """Return the failed entry of an argument that matches nothing."""
    expected = "expected an image file, a folder of them, or a pattern that matches some"
    return Entry(text, status="failed", error=f"{_shown(text)} {_why_missing(text)}; {expected}.")


def _why_missing(text: str) -> str:
    """Return the reason why an argument matches no image, to be written after the argument."""
    # os.path instead of Path, which raises on names that are too long or contain a NUL.
    if os.path.isdir(text):  # noqa: PTH112
        return "contains no image files (.npy files in a folder must be named one by one)"
    return "is a broken link" if os.path.islink(text) else "does not exist"  # noqa: PTH114


def named(texts: Sequence[str]) -> str:
    """Return the first arguments, and the number of the others."""
    return ", ".join(map(_shown, texts[:_MOST_NAMES])) + _more(texts)


def _shown(text: str) -> str:
    """Return an argument as shown in a message: shortened, and escaped if it is not text."""
    most = _MOST_CHARACTERS if text.isprintable() else _MOST_ESCAPED
    return text if len(text) <= most else f"{text[:most]}..."


def _more(texts: Sequence[str]) -> str:
    left = len(texts) - _MOST_NAMES
    return f", and {left:,} more" if left > 0 else ""


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)
