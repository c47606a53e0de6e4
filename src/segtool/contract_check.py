"""Whether the fields of a contract are what they should be: a file that others made may hold anything there."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_JSON = 16 << 20
"""Longest JSON text of a contract, in characters; one of a thousand classes has some hundred thousand."""

_MAX_DEPTH = 32
_MAX_PIXELS = 2**28  # of one input: beyond any that a segmentation network was trained on
_MAX_CLASSES = 65_535  # labels are 16 bits, and one value is left to ignore
_MAX_NAME = 1000
_HEADS, _SIZE_POLICIES = ("labels", "logits", "probabilities"), ("resize", "tile")
_MAPPINGS = ("quantization", "convolutions", "split", "metrics", "gates", "versions")


def read_json(text: str) -> Any:
    """Return what a JSON text says; NaN and Infinity, which JSON has not, become None.

    Raises
    ------
    ValueError
        It is no JSON, too long, or nested too deep.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"it has {len(text):,} characters, at most {MAX_JSON:,} are read")
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except RecursionError:
        value = None
        depth = _MAX_DEPTH + 1
    else:
        depth = _depth(value)
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    return value


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse the fields of a contract that have the wrong type, are out of range or contradict each other.

    Raises
    ------
    ValueError
        What was found and what was expected, without a full stop.
    """
    _check_size(fields)
    _check_classes(fields)
    for name, allowed in (("head", _HEADS), ("size_policy", _SIZE_POLICIES)):
        if fields[name] not in allowed:
            raise ValueError(f"its {name} is {_short(fields[name])}, expected {', '.join(allowed)}")
    for name in ("precision", "data_fingerprint"):
        if not isinstance(fields[name], str):
            raise TypeError(f"its {name} is {_short(fields[name])}, expected a text")
    for name in _MAPPINGS:
        if not isinstance(fields[name], Mapping):
            raise TypeError(f"its {name} is {_short(fields[name])}, expected names and values")


def _check_size(fields: Mapping[str, Any]) -> None:
    height, width, channels = (fields[name] for name in ("height", "width", "channels"))
    whole = all(_is_id(value, 1, _MAX_PIXELS) for value in (height, width))
    if not whole or height * width > _MAX_PIXELS or not _is_id(channels, 1, 3) or channels == 2:
        raise ValueError(
            f"its input is {_short(height)} x {_short(width)} x {_short(channels)}, expected a positive size of at "
            f"most {_MAX_PIXELS:,} pixels and 1 or 3 channels"
        )


def _check_classes(fields: Mapping[str, Any]) -> None:
    names, palette = fields["class_names"], fields["palette"]
    if not 2 <= len(names) <= _MAX_CLASSES or len(palette) != len(names):
        raise ValueError(
            f"it has {len(names)} classes and {len(palette)} colours, expected 2 to {_MAX_CLASSES} and as many"
        )
    if wrong := [name for name in names if not _is_name(name)]:
        raise ValueError(f"{_short(wrong[0])} is no name of a class, expected printable text")
    if wrong := [color for color in palette if len(color) != 3 or not all(_is_id(part, 0, 255) for part in color)]:
        raise ValueError(f"{_short(wrong[0])} is no colour, expected red, green and blue of 0..255")
    if fields["background_id"] is not None and not _is_id(fields["background_id"], 0, len(names) - 1):
        raise ValueError(f"its background is {_short(fields['background_id'])}, expected a class id")
    if fields["ignore_id"] is not None and not _is_id(fields["ignore_id"], 0, _MAX_CLASSES):
        raise ValueError(f"its ignored label is {_short(fields['ignore_id'])}, expected 0..{_MAX_CLASSES}")


def _is_id(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_name(value: Any) -> bool:
    """Whether a text can be shown in one line: control characters could rewrite the terminal that shows them."""
    return (
        isinstance(value, str)
        and len(value) <= _MAX_NAME
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    )


def _depth(value: Any) -> int:
    """Return how many levels of lists and objects a value has."""
    depth, level = 0, [value]
    while level:
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
        depth += bool(inner)
    return depth


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
