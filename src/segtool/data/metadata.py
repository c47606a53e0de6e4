"""dataset.json: what a data set says of itself (class names, how masks encode them, what is ignored).

::

    {"classes": [{"name": "sky", "value": 0}, {"name": "road", "color": [128, 64, 128]}, ...],
     "background": "sky", "ignore_id": 255, "ignore_color": null, "channels": 3,
     "splits": {"train": [0, 3200], "val": [3200, 4000]}, "provenance": {...}}

Only ``classes`` is required. A class without value and colour has its position as its value; several values are a list
(``[1, 255]``); its ``share`` of the pixels is for readers alone. ``splits`` (for arrays) gives [start, stop) of each
part. The background, which foreground means leave out, is the class of that name unless stated; null means that there
is none. All else is refused, in `segtool.data.description`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import IndexArray
from segtool.data.classes import (
    MAX_LABEL,
    USUAL_IGNORE,
    Classes,
    Encoding,
    background_of,
    identity_encoding,
    pack_colors,
)
from segtool.data.description import EXAMPLE, checked_classes
from segtool.errors import DataError
from segtool.text import counted

logger = logging.getLogger(__name__)
FILE_NAME = "dataset.json"


@dataclass(frozen=True)
class Metadata:
    """What is known of masks: a dataset.json that was read and checked, or what their values show."""

    classes: Classes  # names and special ids, as they are in the labels
    encoding: Encoding  # which raw mask value or colour gives which label
    channels: int | None = None  # 1 or 3 where stated
    splits: Mapping[str, tuple[int, int]] | None = None  # [start, stop) of each predefined part, by name
    provenance: Mapping[str, Any] = field(default_factory=dict)  # how the data were made, their licence and the like
    file: Path = Path(FILE_NAME)  # where it was read

    @classmethod
    def of_ids(cls, classes: Classes) -> Metadata:
        """Return the description of masks whose values are the ids of these classes."""
        return cls(classes, identity_encoding(classes))

    def split_problems(self, count: int) -> list[str]:
        """Return a sentence for each part that `count` images do not have, and for each two that share images."""
        parts = list((self.splits or {}).items())
        found = [
            f"The part {name!r} of splits in {self.file} is {list(part)}, and there are {counted(count, 'image')}, "
            f"expected numbers up to {count}; correct it."
            for name, part in parts
            if part[1] > count
        ]
        for index, (name, part) in enumerate(parts):
            for other, others in parts[:index]:
                shared = min(part[1], others[1]) - max(part[0], others[0])
                if shared > 0:
                    found.append(
                        f"The parts {other} {list(others)} and {name} {list(part)} of splits in {self.file} share "
                        f"{counted(shared, 'image')}, expected each in one part at most; correct it, or a validation "
                        "would score images that were trained on."
                    )
        return found

    def split_indices(self) -> dict[str, IndexArray] | None:
        """Return the predefined parts as index arrays by name; `split_problems` comes first."""
        if self.splits is None:
            return None
        return {name: np.arange(start, stop, dtype=np.intp) for name, (start, stop) in self.splits.items()}


def find_metadata(*candidates: Path) -> Metadata | None:
    """Read the first of `candidates` that exists; None where none does."""
    path = next((path for path in candidates if path.is_file()), None)
    return None if path is None else read_metadata(path)


def read_metadata(path: Path) -> Metadata:
    """Read a dataset.json; raise a DataError if it is no JSON, has wrong keys or values, or contradicts itself."""
    return parse_description(_read_json(path), path)


def parse_description(raw: Any, path: Path) -> Metadata:
    """Return what a description says that was read from `path`; errors are as in `read_metadata`."""
    try:
        entries, foreign = checked_classes(raw)
        found = _parse(raw, entries, path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if foreign:
        logger.warning("%s has keys that mean nothing to segtool and are left out: %s.", path, ", ".join(foreign))
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except RecursionError:
        reason = "it is nested too deeply"
    except OSError as error:
        reason = error.strerror or "it cannot be read"
    except ValueError as error:  # a number of thousands of digits, or a key that is there twice
        reason = str(error)
    raise DataError(
        f"{path} is no JSON that can be read ({reason}), expected such as {EXAMPLE}; correct it or remove it."
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _parse(raw: dict[str, Any], entries: list[dict[str, Any]], path: Path) -> Metadata:
    """Return what a checked description says."""
    names = tuple(entry["name"] for entry in entries)
    colors = "color" in entries[0]
    ignored = raw.get("ignore_color" if colors else "ignore_id")
    background = raw.get("background", background_of(names))
    classes = Classes(
        names,
        background_id=names.index(background) if isinstance(background, str) else background,
        ignore_id=None if ignored is None else _ignore_label(raw.get("ignore_id"), len(names)),
    )
    splits = raw.get("splits")
    return Metadata(
        classes=classes,
        encoding=_encoding(entries, ignored, classes, file=str(path)),
        channels=raw.get("channels"),
        splits={name: (part[0], part[1]) for name, part in splits.items()} if splits else None,
        provenance=raw.get("provenance") or {},
        file=path,
    )


def _ignore_label(wanted: int | None, count: int) -> int:
    """Return the label for ignored pixels: the stated value where it is free, else 255 or 65535."""
    if wanted is not None and count <= wanted <= MAX_LABEL:
        return wanted
    return USUAL_IGNORE if count <= USUAL_IGNORE else MAX_LABEL


def _encoding(entries: list[dict[str, Any]], ignored: Any, classes: Classes, *, file: str) -> Encoding:
    """Return the label of each value or colour; refuse one that stands for two things."""
    colors = "color" in entries[0]
    stated = [
        (value, label, f"class {classes.names[label]!r}")
        for label, entry in enumerate(entries)
        for value in ([entry["color"]] if colors else _listed(entry.get("value", label)))
    ]
    if classes.ignore_id is not None:
        stated.append((ignored, classes.ignore_id, "what is ignored"))
    labels: dict[int, int] = {}
    owners: dict[int, str] = {}
    for value, label, owner in stated:
        key = int(pack_colors(np.array(value))) if colors else value
        if key in owners:
            shown = f"{'colour' if colors else 'value'} {value}"
            raise DataError(f"The {shown} stands for {owners[key]} and for {owner}; give each its own.")
        labels[key], owners[key] = label, owner
    return Encoding.of(labels, colors=colors, described_in=file)


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]
