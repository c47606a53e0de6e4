"""dataset.json: what a data set says of itself (class names, how masks encode them, what is ignored).

::

    {"classes": [{"name": "sky", "value": 0}, {"name": "road", "color": [128, 64, 128]}, ...],
     "background": "sky", "ignore_id": 255, "ignore_color": null, "channels": 3,
     "splits": {"train": [0, 3200], "val": [3200, 4000]}, "provenance": {...}}

Only ``classes`` is required. A class without value and colour has its position as its value. ``splits`` (for arrays)
gives [start, stop) of each part. The background, which foreground means leave out, is the class of that name unless
stated; null means that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtool.data.classes import MAX_LABEL, USUAL_IGNORE, Classes, Encoding, background_of, pack_colors
from segtool.errors import DataError

FILE_NAME = "dataset.json"


@dataclass(frozen=True)
class Metadata:
    """A dataset.json that was read and checked.

    Attributes
    ----------
    classes
        Names and special ids, as they are in the labels.
    encoding
        Which raw mask value or colour gives which label.
    channels
        1 or 3 where stated, else None.
    splits
        [start, stop) of each predefined part, by name.
    provenance
        How the data were made, their licence and the like.
    """

    classes: Classes
    encoding: Encoding
    channels: int | None = None
    splits: Mapping[str, tuple[int, int]] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def split_indices(self) -> dict[str, Any] | None:
        """Return the predefined parts as index arrays by name."""
        if self.splits is None:
            return None
        return {name: np.arange(start, stop, dtype=np.intp) for name, (start, stop) in self.splits.items()}


def find_metadata(*candidates: Path) -> Metadata | None:
    """Read the first of `candidates` that exists; None where none does."""
    found = [path for path in candidates if path.is_file()]
    return read_metadata(found[0]) if found else None


def read_metadata(path: Path) -> Metadata:
    """Read a dataset.json.

    Raises
    ------
    DataError
        It is no JSON, lacks ``classes``, or contradicts itself.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
        return _parse(raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f'{path} is no usable data set description ({reason}), expected JSON like {{"classes": '
            '[{"name": "sky", "value": 0}, ...], "ignore_id": null}; mend it or remove it.'
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _parse(raw: dict[str, Any]) -> Metadata:
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in raw["classes"]]
    names = tuple(str(entry["name"]) for entry in entries)
    colors = _uses_colors(entries)
    ignored = _ignored_key(raw, colors=colors)
    ignore_id = _ignore_label(raw.get("ignore_id"), len(names)) if ignored is not None else None
    classes = Classes(names, background_id=_background(raw, names), ignore_id=ignore_id)
    return Metadata(
        classes=classes,
        encoding=_encoding(entries, ignored, classes, colors=colors),
        channels=_channels(raw.get("channels")),
        splits=_splits(raw.get("splits")),
        provenance=dict(raw.get("provenance") or {}),
    )


def _uses_colors(entries: list[dict[str, Any]]) -> bool:
    with_color = sum(entry.get("color") is not None for entry in entries)
    if with_color not in (0, len(entries)) or any("color" in entry and "value" in entry for entry in entries):
        raise DataError("some classes have a colour and others a value, expected one kind; give every class a colour.")
    return with_color > 0


def _ignored_key(raw: dict[str, Any], *, colors: bool) -> int | None:
    """Return the raw value or packed colour that is ignored."""
    color, value = raw.get("ignore_color"), raw.get("ignore_id")
    if colors:
        if value is not None and color is None:
            raise DataError("ignore_id is given but the classes are colours; give ignore_color too.")
        return None if color is None else _color(color)
    if color is not None:
        raise DataError("ignore_color is given but the classes are values; give ignore_id instead.")
    return None if value is None else _integer(value)


def _ignore_label(wanted: Any, count: int) -> int:
    """Return the label for ignored pixels: the stated value where it is free, else 255 or 65535."""
    if wanted is not None and count <= int(wanted) <= MAX_LABEL:
        return int(wanted)
    return USUAL_IGNORE if count <= USUAL_IGNORE else MAX_LABEL


def _encoding(entries: list[dict[str, Any]], ignored: int | None, classes: Classes, *, colors: bool) -> Encoding:
    keys = [_color(e["color"]) if colors else _integer(e.get("value", index)) for index, e in enumerate(entries)]
    labels = list(range(len(keys)))
    if ignored is not None and classes.ignore_id is not None:
        keys.append(ignored)
        labels.append(classes.ignore_id)
    if len(set(keys)) != len(keys):
        raise DataError("two classes (or a class and what is ignored) share a value or colour; give each its own.")
    return Encoding.of(dict(zip(keys, labels, strict=True)), colors=colors)


def _background(raw: dict[str, Any], names: tuple[str, ...]) -> int | None:
    wanted = raw.get("background", background_of(names))
    if isinstance(wanted, str):
        if wanted not in names:
            raise DataError(f"the background {wanted!r} is no class, expected one of {list(names)}; name one of these.")
        return names.index(wanted)
    return None if wanted is None else _integer(wanted)


def _channels(value: Any) -> int | None:
    if value not in (None, 1, 3):
        raise DataError(f"channels is {value!r}, expected 1 (grey) or 3 (RGB); mend it or leave it out.")
    return value if value is None else int(value)


def _splits(value: Any) -> dict[str, tuple[int, int]] | None:
    if value is None:
        return None
    return {str(name): (_integer(part[0]), _integer(part[1])) for name, part in value.items()}


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _color(value: Any) -> int:
    color = np.array(value)
    if color.shape != (3,) or color.dtype.kind != "i" or color.min() < 0 or color.max() > 255:
        raise ValueError(f"{value!r} is no colour [red, green, blue] of 0..255")
    return int(pack_colors(color))
