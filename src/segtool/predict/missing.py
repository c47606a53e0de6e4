"""What is said of arguments that name no image."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from segtool.errors import DataError

_EXPECTED = "expected image files, folders of them, or patterns"
_MOST_NAMES = 3
_MOST_CHARACTERS, _MOST_ESCAPED = 300, 40


def nothing_found(inputs: Sequence[str]) -> DataError:
    """Return the error where no argument names an image; it says of each why."""
    if all(map(_is_pattern, inputs)):
        return DataError(f"No image was found in {named(inputs) or 'nothing'}; {_EXPECTED}.")
    reasons = [f"{shown(text)} {why_missing(text)}" for text in inputs[:_MOST_NAMES]]
    return DataError(f"No image was found: {', '.join(reasons)}{_more(inputs)}; {_EXPECTED}.")


def why_missing(text: str) -> str:
    """Return why an argument names no image: the rest of a sentence that begins with it."""
    # os.path in place of Path, which raises on names that are too long or hold a NUL.
    if os.path.isdir(text):  # noqa: PTH112
        return "has no images in it (folders are searched for image files, .npy files are named)"
    return "is a link that leads nowhere" if os.path.islink(text) else "does not exist"  # noqa: PTH114


def named(texts: Sequence[str]) -> str:
    """Return the first few of some arguments, and how many more there are."""
    return ", ".join(map(shown, texts[:_MOST_NAMES])) + _more(texts)


def shown(text: str) -> str:
    """Return an argument as it is shown in a sentence: cut where it is long, or no text at all but bytes."""
    most = _MOST_CHARACTERS if text.isprintable() else _MOST_ESCAPED
    return text if len(text) <= most else f"{text[:most]}..."


def _more(texts: Sequence[str]) -> str:
    left = len(texts) - _MOST_NAMES
    return f", and {left:,} more" if left > 0 else ""


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(text)
