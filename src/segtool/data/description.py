"""What a dataset.json may say: every key and value of it is checked here, before any is used."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.data.base import PARTS
from segtool.data.classes import MAX_LABEL
from segtool.errors import DataError

KEYS = ("classes", "background", "ignore_id", "ignore_color", "channels", "splits", "provenance")
CLASS_KEYS = ("name", "value", "color", "share")
EXAMPLE = '{"classes": [{"name": "sky", "value": 0}, {"name": "road", "value": 1}], "ignore_id": null}'
_LARGEST = 2**31 - 1
_SHOWN = 60  # characters of a wrong value


def checked_classes(raw: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the classes of a description, each with its name, and the keys that mean nothing here, each once.

    Other tools keep words of their own in such a file, which harm nothing. `raw` is what the JSON holds. Raise a
    DataError that names the key or value, not the file, for a key that is missing or nearly one of ours, and for each
    value that is wrong.
    """
    if not isinstance(raw, dict):
        raise DataError(f"It holds {_show(raw)}, expected an object such as {EXAMPLE}; write one.")
    foreign = _foreign_keys(raw, KEYS, "")
    entries = raw.get("classes")
    if not isinstance(entries, list):
        found = f"is {_show(entries)}" if "classes" in raw else "is missing"
        raise DataError(
            f'"classes" {found}, expected a list with an entry for each class, such as {EXAMPLE}; correct it.'
        )
    classes = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
    for position, entry in enumerate(classes):
        foreign += _check_class(entry, position)
    names = [entry["name"] for entry in classes]
    _check_names(names)
    _check_ignored(raw, sum("color" in entry for entry in classes), len(classes))
    _check_background(raw.get("background"), names)
    channels, provenance = raw.get("channels"), raw.get("provenance")
    if channels is not None and (not _is_whole(channels, 1, 3) or channels == 2):
        raise DataError(f'"channels" is {_show(channels)}, expected 1 (grey) or 3 (RGB); correct it or leave it out.')
    if provenance is not None and not isinstance(provenance, dict):
        raise DataError(f'"provenance" is {_show(provenance)}, expected an object {{...}}; correct it or leave it out.')
    _check_splits(raw.get("splits"))
    return classes, list(dict.fromkeys(foreign))


def _foreign_keys(found: Mapping[str, Any], known: Sequence[str], where: str) -> list[str]:
    """Return the keys that are not `known`; refuse one that is nearly."""
    foreign = [key for key in found if key not in known]
    for key in foreign:
        if close := difflib.get_close_matches(key.lower(), known, 1):
            raise DataError(
                f"There is no key {_show(key)}{where} (did you mean {close[0]!r}?), the keys are {', '.join(known)}; "
                "correct it."
            )
    return foreign


def _check_class(entry: Any, position: int) -> list[str]:
    """Refuse what is no class; return its keys that mean nothing here."""
    where = f"Class {position}"
    if not isinstance(entry, dict):
        raise DataError(f'{where} is {_show(entry)}, expected a name or {{"name": ..., "value": ...}}; correct it.')
    foreign = _foreign_keys(entry, CLASS_KEYS, f" of a class (found in class {position})")
    if entry.get("id", position) != position and not {"value", "color"} & entry.keys():
        raise DataError(
            f"{where} has the id {_show(entry['id'])}, and a class's id is its place in the list, from 0; give "
            'what its pixels are in the masks as "value", or change the order.'
        )
    if "name" not in entry:
        raise DataError(f"{where} is {_show(entry)} and has no name, expected one; give it a name.")
    name = entry["name"]
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where} has the name {_show(name)}, expected a text that is not empty; name it.")
    where += f" ({_show(name)})"
    if "value" in entry and "color" in entry:
        raise DataError(f"{where} has a value and a colour, expected one of them; leave the other out.")
    values = entry.get("value", 0)
    if not all(_is_whole(value, -_LARGEST) for value in (values if isinstance(values, list) and values else [values])):
        raise DataError(
            f"{where} has the value {_show(values)}, expected the whole number that its pixels have in the masks, or a "
            "list of such numbers; correct it."
        )
    if "color" in entry:
        _check_color(entry["color"], f"{where} has the colour")
    return [key for key in foreign if key != "id"]


def _check_names(names: Sequence[str]) -> None:
    if not 2 <= len(names) <= MAX_LABEL:
        raise DataError(
            f"The number of classes is {len(names)} ({_show(names)}), expected two or more; name each class, and the "
            "background where nothing is."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"The name {_show(twice)} is given to {names.count(twice)} classes; name each once.")


def _check_ignored(raw: Mapping[str, Any], with_color: int, count: int) -> None:
    """Refuse values beside colours, and what is ignored in the other kind than the classes."""
    if with_color not in (0, count):
        raise DataError(
            f"{with_color} of {count} classes have a colour and the others a value, expected one kind; give every "
            "class a colour."
        )
    ignore_id, ignore_color = raw.get("ignore_id"), raw.get("ignore_color")
    if ignore_id is not None and not _is_whole(ignore_id, -_LARGEST):
        raise DataError(f'"ignore_id" is {_show(ignore_id)}, expected a whole number or null; correct it.')
    if ignore_color is not None:
        _check_color(ignore_color, '"ignore_color" is')
    if with_color and ignore_id is not None and ignore_color is None:
        raise DataError('"ignore_id" is given but the classes are colours; give "ignore_color" too.')
    if not with_color and ignore_color is not None:
        raise DataError('"ignore_color" is given but the classes are values; give "ignore_id" instead.')


def _check_background(wanted: Any, names: Sequence[str]) -> None:
    if wanted is None or (isinstance(wanted, str) and wanted in names) or _is_whole(wanted, 0, len(names) - 1):
        return
    close = difflib.get_close_matches(wanted, names, 1) if isinstance(wanted, str) else []
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    raise DataError(
        f'"background" is {_show(wanted)}, which is no class{guess}, expected one of {_show(names)}, its number, or '
        "null for none; correct it."
    )


def _check_splits(splits: Any) -> None:
    expected = '{"train": [0, 3200], "val": [3200, 4000]}, each from and up to'
    if splits is None:
        return
    if not isinstance(splits, dict):
        raise DataError(f'"splits" is {_show(splits)}, expected {expected}; correct it or leave it out.')
    for name, part in splits.items():
        if name not in PARTS:
            raise DataError(f'"splits" has the part {_show(name)}, expected train, val or test; rename it.')
        if not isinstance(part, list) or len(part) != 2 or not all(_is_whole(number, 0) for number in part):
            raise DataError(f'The part {name!r} of "splits" is {_show(part)}, expected {expected}; correct it.')
        if part[0] >= part[1]:
            raise DataError(
                f'The part {name!r} of "splits" is {_show(part)} and holds no image, expected [start, stop] with start '
                "below stop; correct it."
            )


def _check_color(color: Any, what: str) -> None:
    if not isinstance(color, list) or len(color) != 3 or not all(_is_whole(part, 0, 255) for part in color):
        raise DataError(f"{what} {_show(color)}, expected [red, green, blue], each 0..255; correct it.")


def _is_whole(value: Any, least: int, most: int = _LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "nested too deeply"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
