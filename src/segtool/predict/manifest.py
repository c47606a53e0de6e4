"""The manifest of a prediction: the status of each input."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from segtool.errors import DataError, reason_of
from segtool.files import atomic_path

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1

Status = Literal["done", "skipped", "failed", "not run", "writing"]


@dataclass(slots=True)  # very many are held at once
class Entry:
    """The status of one input.

    Attributes
    ----------
    input
        The file; ``stack.npy[12]`` for an image of a .npy stack; or an argument that matches no image.
    status
        "done"; "skipped" if an earlier run did it (the other fields come from that run); "failed"; or "not run" if
        the run was stopped before it. A journal also has "writing": its outputs may exist or not.
    outputs
        The written files by kind, relative to the manifest.
    output_sha256
        Their SHA-256, by kind.
    error
        The reason of a failure.
    note
        Further information.
    height, width
        Size of the label map in pixels.
    bytes, mtime_ns, sha256
        Identity of the input, as in `segtool.runtime.sources.InputFacts`.
    provider
        The execution provider that ran it.
    seconds
        Time from opening the file to its labels.
    pixels
        Number of pixels by class name, for the classes that occur.
    largest_value
        The largest value of a 16-bit image, 0..65535; None for others.
    """

    input: str
    status: Status = "not run"
    outputs: Mapping[str, str] = field(default_factory=dict)
    output_sha256: Mapping[str, str] | None = None
    error: str | None = None
    note: str | None = None
    height: int | None = None
    width: int | None = None
    bytes: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    provider: str | None = None
    seconds: float | None = None
    pixels: Mapping[str, int] | None = None
    largest_value: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the known facts of the input in plain Python types."""
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_dict(cls, value: Any) -> Entry | None:
        """Return the entry of a result of `to_dict`; None for anything else."""
        if not isinstance(value, dict) or not isinstance(value.get("input"), str):
            return None
        outputs = value.get("outputs", {})
        if not isinstance(outputs, dict) or not all(_is_below(name) for name in outputs.values()):
            return None
        return cls(**{name: value[name] for name in _FIELDS if name in value})


_FIELDS = tuple(each.name for each in fields(Entry))


@dataclass
class Manifest:
    """The result of a run, which its file states too.

    Attributes
    ----------
    path
        The JSON file. After a run to a remote place, a copy is there and none at `path`.
    header
        The facts of the run: model, options, time.
    entries
        One entry per input.
    interrupted
        Whether the run was stopped before its end.
    """

    path: Path
    header: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    interrupted: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Number of inputs by status: "done", "skipped", "failed" and "not_run"."""
        found = Counter(entry.status.replace(" ", "_") for entry in self.entries)
        return {status: found[status] for status in ("done", "skipped", "failed", "not_run")}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        return {**self._head(), "entries": [entry.to_dict() for entry in self.entries]}

    def write(self) -> None:
        """Write the file, with one line for each entry; raise OutputWriteError if that fails."""
        with atomic_path(self.path) as temporary, temporary.open("wb") as stream:
            stream.write(b"{\n")
            stream.writelines(b"  %b: %b,\n" % (to_line(key), to_line(value)) for key, value in self._head().items())
            stream.write(b'  "entries": [')
            for index, entry in enumerate(self.entries):
                stream.write((b",\n    " if index else b"\n    ") + to_line(entry.to_dict()))
            stream.write(b"\n  ]\n}\n")

    def _head(self) -> dict[str, Any]:
        status = "interrupted" if self.interrupted else "complete"
        return {"schema_version": SCHEMA_VERSION, "status": status, "counts": self.counts, **self.header}


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an earlier run; damaged entries are left out.

    Raises
    ------
    DataError
        It cannot be read, or is not a manifest.
    """
    try:
        # Each entry is converted when it is parsed, because an `Entry` takes a third of the memory of its `dict`.
        value = json.loads(path.read_bytes(), object_hook=lambda found: Entry.from_dict(found) or found)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({reason_of(error)}); move it away, or start again with --overwrite."
        ) from error
    if not isinstance(value, dict) or not isinstance(value.get("entries"), list):
        raise DataError(f"{path} is not a manifest of a prediction; move it away, or start again with --overwrite.")
    entries = [entry for entry in value.pop("entries") if isinstance(entry, Entry)]
    return Manifest(path, value, entries)


def to_line(value: Any) -> bytes:
    """Return a value as one line of JSON in UTF-8; file names that are not UTF-8 are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _is_below(name: Any) -> bool:
    """Return whether a recorded output is inside the output folder; a resumed run must not replace one outside."""
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in name.replace(os.sep, "/").split("/")  # noqa: PTH117
