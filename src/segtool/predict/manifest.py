"""The manifest of a prediction: the status of each input."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

from segtool.errors import DataError
from segtool.files import write_with

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1

# Lines of the file before and after the entries; each entry is one line.
_ENTRIES = b'  "entries": [\n'
_END = b"  ]\n"

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
    """

    path: Path
    done: int = 0
    skipped: int = 0
    failed: int = 0
    not_run: int = 0
    interrupted: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Number of inputs by status."""
        return {name: getattr(self, name) for name in ("done", "skipped", "failed", "not_run")}

    @property
    def entries(self) -> list[Entry]:
        """One entry per input, read from the file."""
        found = (Entry.from_dict(value) for value in self.to_dict()["entries"])
        return [entry for entry in found if entry is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        return read_manifest(self.path)


def write_manifest(manifest: Manifest, header: Mapping[str, Any], entries: Iterable[Entry | bytes]) -> None:
    """Write a manifest entry by entry, one per line, so that the memory does not grow with their number.

    An entry may also be a line of `to_line`.

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


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a manifest.

    Raises
    ------
    DataError
        It cannot be read, or is not a manifest.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); move it away, or start again with --overwrite.") from error
    if not isinstance(value, dict) or not isinstance(value.get("entries"), list):
        raise DataError(f"{path} is not a manifest of a prediction; move it away, or start again with --overwrite.")
    return value


def read_head(path: Path) -> dict[str, Any]:
    """Return the facts of a manifest about its run, without the entries; errors as in `read_manifest`."""
    head = b""
    with suppress(OSError, ValueError), path.open("rb") as stream:
        for line in stream:
            if line == _ENTRIES:
                return dict(json.loads(head.rstrip(b",\n") + b"}"))
            head += line
    return read_manifest(path)  # reformatted by hand, or damaged


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a manifest, one in memory at a time.

    Raises
    ------
    DataError
        As in `read_manifest`.
    """
    found = map(Entry.from_dict, _values(path))
    return (entry for entry in found if entry is not None)


def _values(path: Path) -> Iterator[Any]:
    count = 0
    with suppress(OSError, ValueError), path.open("rb") as stream:
        for line in stream:
            if line == _ENTRIES:
                break
        for line in stream:
            if line == _END:
                return
            yield json.loads(line.strip().removesuffix(b","))
            count += 1
    yield from read_manifest(path)["entries"][count:]  # reformatted by hand, or damaged


def to_line(value: Any) -> bytes:
    """Return a value as one line of JSON in UTF-8; file names that are not UTF-8 are escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _write_lines(stream: BinaryIO, head: Mapping[str, Any], entries: Iterable[Entry | bytes]) -> None:
    stream.write(b"{\n")
    for key, value in head.items():
        stream.write(b"  %b: %b,\n" % (to_line(key), to_line(value)))
    stream.write(_ENTRIES.rstrip())
    for index, entry in enumerate(entries):
        line = entry if isinstance(entry, bytes) else to_line(entry.to_dict())
        stream.write((b",\n    " if index else b"\n    ") + line)
    stream.write(b"\n" + _END + b"}\n")


def _is_below(name: Any) -> bool:
    """Return whether a recorded output is inside the output folder; a resumed run must not replace one outside."""
    # Not a `Path`: it interns its parts in a table of the process, which would grow.
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in name.replace(os.sep, "/").split("/")  # noqa: PTH117
