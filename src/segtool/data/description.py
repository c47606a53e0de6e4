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
    _require(isinstance(raw, dict), "It", raw, f"an object such as {EXAMPLE}")
    foreign = _foreign_keys(raw, KEYS, "")
    if "classes" not in raw:
        raise DataError(f'It has no "classes", expected a list such as in {EXAMPLE}; add it.')
    _require(isinstance(raw["classes"], list), '"classes"', raw["classes"], f"a list such as in {EXAMPLE}")
    classes = [{"name": entry} if isinstance(entry, str) else entry for entry in raw["classes"]]
    for position, entry in enumerate(classes):
        foreign += _check_class(entry, position)
    names = [entry["name"] for entry in classes]
    _check_names(names)
    _check_ignored(raw, sum("color" in entry for entry in classes), len(classes))
    _check_background(raw.get("background"), names)
    channels, provenance = raw.get("channels"), raw.get("provenance")
    of_images = channels is None or (_is_whole(channels, 1, 3) and channels != 2)
    _require(of_images, '"channels"', channels, "1 (grey), 3 (RGB) or null")
    _require(provenance is None or isinstance(provenance, dict), '"provenance"', provenance, "an object {...}")
    _check_splits(raw.get("splits"))
    return classes, list(dict.fromkeys(foreign))


def _require(ok: bool, what: str, value: Any, expected: str) -> None:
    """Refuse a value that is not as expected."""
    if not ok:
        raise DataError(f"{what} is {_show(value)}, expected {expected}; correct it.")


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
    _require(isinstance(entry, dict), f"Class {position}", entry, 'a name or {"name": ..., "value": ...}')
    foreign = _foreign_keys(entry, CLASS_KEYS, f" of a class (found in class {position})")
    if entry.get("id", position) != position and not {"value", "color"} & entry.keys():
        raise DataError(
            f"Class {position} has the id {_show(entry['id'])}, and a class's id is its place in the list, from 0; "
            'give what its pixels are in the masks as "value", or change the order.'
        )
    name = entry.get("name")
    _require(isinstance(name, str) and name.strip() != "", f"The name of class {position}", name, "a text")
    what = f"class {position} ({_show(name)})"
    if "value" in entry and "color" in entry:
        raise DataError(f"The {what} has a value and a colour, expected one of them; leave the other out.")
    value = entry.get("value", 0)
    values = value if isinstance(value, list) and value else [value]
    whole = all(_is_whole(one, -_LARGEST) for one in values)
    _require(whole, f"The value of {what}", value, "the whole number that its pixels have in the masks, or a list")
    if "color" in entry:
        _check_color(entry["color"], f"The colour of {what}")
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
    _require(ignore_id is None or _is_whole(ignore_id, -_LARGEST), '"ignore_id"', ignore_id, "a whole number or null")
    if ignore_color is not None:
        _check_color(ignore_color, '"ignore_color"')
    if with_color and ignore_id is not None and ignore_color is None:
        raise DataError('"ignore_id" is given but the classes are colours; give "ignore_color" too.')
    if not with_color and ignore_color is not None:
        raise DataError('"ignore_color" is given but the classes are values; give "ignore_id" instead.')


def _check_background(wanted: Any, names: Sequence[str]) -> None:
    known = isinstance(wanted, str) and wanted in names
    close = difflib.get_close_matches(wanted, names, 1) if isinstance(wanted, str) else []
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    expected = f"one of {_show(names)}{guess}, its number, or null for none"
    _require(wanted is None or known or _is_whole(wanted, 0, len(names) - 1), '"background"', wanted, expected)


def _check_splits(splits: Any) -> None:
    expected = 'ranges [from, up to] such as {"train": [0, 3200], "val": [3200, 4000]}, with an image or more'
    _require(splits is None or isinstance(splits, dict), '"splits"', splits, expected)
    for name, part in (splits or {}).items():
        if name not in PARTS:
            raise DataError(f'"splits" has the part {_show(name)}, expected train, val or test; rename it.')
        pair = isinstance(part, list) and len(part) == 2 and all(_is_whole(number, 0) for number in part)
        _require(pair and part[0] < part[1], f'The part {name!r} of "splits"', part, expected)


def _check_color(color: Any, what: str) -> None:
    ok = isinstance(color, list) and len(color) == 3 and all(_is_whole(part, 0, 255) for part in color)
    _require(ok, what, color, "[red, green, blue], each 0..255")


def _is_whole(value: Any, least: int, most: int = _LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "nested too deeply"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
