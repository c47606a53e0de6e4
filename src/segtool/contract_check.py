"""Check the fields of a contract: an untrusted file may contain any values."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal, get_args

Head = Literal["labels", "logits", "probabilities"]
"""What a model file returns: class ids, or scores of each class."""

SizePolicy = Literal["resize", "tile"]
"""What is done with images of another size than the input."""

MAX_JSON = 16 << 20
"""Maximum length of the JSON text of a contract, in characters; a thousand classes need about a hundred thousand."""

_MAX_DEPTH = 32
_MAX_PIXELS = 2**28  # limit of one input: more than any segmentation network was trained on
_MAX_CLASSES = 65_535  # labels have 16 bits, and one value is reserved for the ignore id
_MAX_NAME = 1000
_MAX_ARGUMENTS, _MAX_ARGUMENT = 1000, 1 << 16
_MAX_VERSION = 1_000_000
_PRECISIONS = ("float32", "int8")
_FINGERPRINT = re.compile("([0-9a-f]{64})?")
_MAPPINGS = ("quantization", "convolutions", "split", "network", "metrics", "gates", "versions")


def read_json(text: str) -> Any:
    """Return the value of a JSON text; NaN and Infinity, which JSON does not have, become None.

    Raises
    ------
    ValueError
        It is not JSON, too long, or nested too deep.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"it has {len(text):,} characters, but the limit is {MAX_JSON:,}")
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
        The found and the expected value, without a full stop.
    """
    _check_size(fields)
    _check_trained_size(fields["trained_size"])
    _check_classes(fields)
    _check_arguments(fields["arguments"])
    for name, allowed in (("head", get_args(Head)), ("size_policy", get_args(SizePolicy)), ("precision", _PRECISIONS)):
        if fields[name] not in allowed:
            raise ValueError(f"its {name} is {_short(fields[name])}, expected {', '.join(allowed)}")
    if not _is_id(fields["version"], 1, _MAX_VERSION):
        raise ValueError(f"its version is {_short(fields['version'])}, expected an integer from 1")
    if not isinstance(fields["data_fingerprint"], str) or not _FINGERPRINT.fullmatch(fields["data_fingerprint"]):
        raise ValueError(
            f"its data_fingerprint is {_short(fields['data_fingerprint'])}, expected a SHA-256 in hexadecimal, or none"
        )
    for name in _MAPPINGS:
        _check_mapping(name, fields[name])


def _check_mapping(name: str, value: Any) -> None:
    """Refuse fields that are not mappings from texts; the values are mappings for figures and texts for versions."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"its {name} is {_short(value)}, expected names and values")
    inner = {"metrics": Mapping, "gates": Mapping, "versions": str}.get(name)
    for key, item in value.items():
        if inner is not None and not isinstance(item, inner):
            expected = "a text" if inner is str else "names and values"
            raise TypeError(f"{_short(key)} of its {name} is {_short(item)}, expected {expected}")


def _check_size(fields: Mapping[str, Any]) -> None:
    height, width, channels = (fields[name] for name in ("height", "width", "channels"))
    whole = all(_is_id(value, 1, _MAX_PIXELS) for value in (height, width))
    if not whole or height * width > _MAX_PIXELS or not _is_id(channels, 1, 3) or channels == 2:
        raise ValueError(
            f"its input is {_short(height)} x {_short(width)} x {_short(channels)}, expected a positive size of at "
            f"most {_MAX_PIXELS:,} pixels and 1 or 3 channels"
        )


def _check_trained_size(value: Any) -> None:
    if value is None:
        return
    whole = isinstance(value, tuple) and len(value) == 2 and all(_is_id(side, 1, _MAX_PIXELS) for side in value)
    if not whole or value[0] * value[1] > _MAX_PIXELS:
        raise ValueError(
            f"its trained_size is {_short(value)}, expected a height and a width of at most {_MAX_PIXELS:,} pixels"
        )


def _check_arguments(value: Any) -> None:
    """Refuse fields that are not lists of texts; the texts are escaped when they are printed."""
    texts = isinstance(value, tuple) and all(isinstance(item, str) and len(item) <= _MAX_ARGUMENT for item in value)
    if not texts or len(value) > _MAX_ARGUMENTS:
        raise TypeError(
            f"its arguments are {_short(value)}, expected at most {_MAX_ARGUMENTS} texts of up to {_MAX_ARGUMENT:,} "
            "characters"
        )


def _check_classes(fields: Mapping[str, Any]) -> None:
    names, palette = fields["class_names"], fields["palette"]
    if not 2 <= len(names) <= _MAX_CLASSES or len(palette) != len(names):
        raise ValueError(
            f"it has {len(names)} classes and {len(palette)} colours, expected 2 to {_MAX_CLASSES} of each"
        )
    if wrong := [name for name in names if not _is_name(name)]:
        raise ValueError(f"{_short(wrong[0])} is not a class name, expected printable text")
    if wrong := [color for color in palette if len(color) != 3 or not all(_is_id(part, 0, 255) for part in color)]:
        raise ValueError(f"{_short(wrong[0])} is not a colour, expected red, green and blue in 0..255")
    if fields["background_id"] is not None and not _is_id(fields["background_id"], 0, len(names) - 1):
        raise ValueError(f"its background is {_short(fields['background_id'])}, expected a class id")
    if fields["ignore_id"] is not None and not _is_id(fields["ignore_id"], 0, _MAX_CLASSES):
        raise ValueError(f"its ignored label is {_short(fields['ignore_id'])}, expected 0..{_MAX_CLASSES}")


def _is_id(value: Any, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def _is_name(value: Any) -> bool:
    """Return whether a text can be printed on one line: control characters could manipulate the terminal."""
    return (
        isinstance(value, str)
        and len(value) <= _MAX_NAME
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in value)
    )


def _depth(value: Any) -> int:
    """Return the number of nested levels of lists and objects in a value."""
    depth, level = 0, [value]
    while level:
        inner = [item for item in level if isinstance(item, dict | list)]
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
        depth += bool(inner)
    return depth


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
