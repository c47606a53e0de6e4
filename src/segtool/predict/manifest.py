"""The manifest of a prediction: the status of each input."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

from segtool.errors import DataError, reason_of
from segtool.files import write_with

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1

Status = Literal["done", "skipped", "failed", "not run", "writing"]


@dataclass
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
        return {name: value for name, value in vars(self).items() if value is not None}

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
    """The number of inputs of each status; the file lists all inputs.

    Attributes
    ----------
    path
        The JSON file.
    done, skipped, failed, not_run
        Number of inputs that were predicted and written, that an earlier run had done, that failed, and that were not
        run because of a stop.
    interrupted
        Whether the run was stopped before its end.
    content
        The content of a file that is no longer at `path`, because it was copied to a remote place.
    """

    path: Path
    done: int = 0
    skipped: int = 0
    failed: int = 0
    not_run: int = 0
    interrupted: bool = False
    content: dict[str, Any] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of inputs by status."""
        return {name: getattr(self, name) for name in ("done", "skipped", "failed", "not_run")}

    @property
    def entries(self) -> list[Entry]:
        """One entry per input, read from the file."""
        return [entry for entry in read_manifest(self.path, as_entries=True)["entries"] if isinstance(entry, Entry)]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        return read_manifest(self.path) if self.content is None else self.content


def write_manifest(manifest: Manifest, header: Mapping[str, Any], entries: Iterable[bytes]) -> None:
    """Write a manifest with one line for each entry, from `entry_line`.

    Raises
    ------
    OutputWriteError
        It could not be written.
    """
    head = {
        "schema_version": SCHEMA_VERSION,
        "status": "interrupted" if manifest.interrupted else "complete",
        "counts": manifest.counts,
        **header,
    }

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            _write_lines(stream, head, entries)

    write_with(manifest.path, write)


def read_manifest(path: Path, *, as_entries: bool = False) -> dict[str, Any]:
    """Return the content of a manifest, with an `Entry` for each valid entry if `as_entries` is true.

    Raises
    ------
    DataError
        It cannot be read, or is not a manifest.
    """
    try:
        # Each entry is converted when it is parsed, because an `Entry` takes a third of the memory of its `dict`.
        value = json.loads(path.read_bytes(), object_hook=_as_entry if as_entries else None)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({reason_of(error)}); move it away, or start again with --overwrite."
        ) from error
    if not isinstance(value, dict) or not isinstance(value.get("entries"), list):
        raise DataError(f"{path} is not a manifest of a prediction; move it away, or start again with --overwrite.")
    return value


def _as_entry(value: dict[str, Any]) -> Entry | dict[str, Any]:
    return Entry.from_dict(value) or value


def entry_line(entry: Entry) -> bytes:
    """Return an entry as its line in a journal or a manifest."""
    return to_line(entry.to_dict())


def to_line(value: Any) -> bytes:
    """Return a value as one line of JSON in UTF-8; file names that are not UTF-8 are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _write_lines(stream: BinaryIO, head: Mapping[str, Any], entries: Iterable[bytes]) -> None:
    stream.write(b"{\n")
    for key, value in head.items():
        stream.write(b"  %b: %b,\n" % (to_line(key), to_line(value)))
    stream.write(b'  "entries": [')
    for index, line in enumerate(entries):
        stream.write((b",\n    " if index else b"\n    ") + line)
    stream.write(b"\n  ]\n}\n")


def _is_below(name: Any) -> bool:
    """Return whether a recorded output is inside the output folder; a resumed run must not replace one outside."""
    # Not a `Path`: it interns its parts in a table of the process, which would grow.
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in name.replace(os.sep, "/").split("/")  # noqa: PTH117
