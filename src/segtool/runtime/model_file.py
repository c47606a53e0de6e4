"""Check a model file before onnxruntime opens it.

These files are refused:

- files that are not ONNX models, or are larger than the caller allows
- files with tensors in other files, because onnxruntime would read any path in them
- files with operators that are not onnxruntime's own, because these come from libraries
- files whose bytes differ from those that the export wrote

The check needs only the standard library, and reads the bytes of tensors only for the checksum.

A file that passes is still a program. It can use any amount of memory and time, and a malicious graph can crash the
process (see `segtool.runtime.sandbox`). Run untrusted models in a process with limits.
"""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import ModelFileError, reason_of
from segtool.runtime.protobuf import Message

MAX_MODEL_BYTES = 2**31 - 1
"""The default maximum file size: the limit of protobuf, and so of a file without external data."""

CHECKSUM_KEY = "segtool.crc32"
"""The metadata that `sealed` appends to a file; checked if present, older files have none."""

# The entry in protobuf format: metadata_props (14), its length, key (1), value (2) of eight hex digits.
_SEAL = b"\x72\x19\x0a\x0d" + CHECKSUM_KEY.encode() + b"\x12\x08"
_SEAL_BYTES = len(_SEAL) + 8

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# com.microsoft.EPContext makes a provider load a compiled network from a path in the node.
_REFUSED_OPS = frozenset({("com.microsoft", "EPContext")})
_MAX_DEPTH = 48  # levels of messages: a graph inside a node of a graph is three

# The messages of onnx.proto that can contain a node or a tensor: field number to content.
_PARTS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_IR_VERSION, _GRAPH = 1, 7
_OP_TYPE, _DOMAIN = 4, 7
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


@dataclass(frozen=True)
class ModelFile:
    """A model file that passed the check.

    Attributes
    ----------
    path
        Its path.
    metadata
        Its metadata, including the contract.
    identity
        Device, inode, size and modification time of the checked file.
    """

    path: Path
    metadata: Mapping[str, str]
    identity: tuple[int, ...]

    def require_unchanged(self) -> None:
        """Refuse a file that was replaced after the check.

        Raises
        ------
        ModelFileError
            The file was replaced or changed.
        """
        try:
            unchanged = _identity(self.path.stat()) == self.identity
        except OSError:
            unchanged = False
        if not unchanged:
            raise ModelFileError(f"{self.path} was replaced while it was opened; open it again when it is complete.")


def check_model_file(path: str | Path, *, max_bytes: int = MAX_MODEL_BYTES) -> ModelFile:
    """Check an ONNX file without opening it with onnxruntime.

    Parameters
    ----------
    path
        The file; a link to one is followed.
    max_bytes
        Larger files are refused without reading them.

    Raises
    ------
    ModelFileError
        The file is missing, not a regular file, empty, too large, not a complete ONNX model, or one of those that the
        docstring of the module lists.
    """
    source = Path(path)
    with _opened(source, max_bytes) as (data, identity):
        try:
            entries = _scan(Message(data), source)
        except ValueError as error:
            raise ModelFileError(
                f"{source} is not an ONNX file, or is damaged or truncated ({error}); copy it "
                "again, or export it again."
            ) from error
        metadata = _decoded(entries, source)
        if CHECKSUM_KEY in metadata and not _is_whole(data):
            raise ModelFileError(
                f"{source} is damaged: its bytes differ from those that `segtool export` wrote. Copy it again; if it "
                f"was edited on purpose, remove the metadata {CHECKSUM_KEY!r} from it."
            )
    return ModelFile(source, metadata, identity)


def sealed(data: bytes) -> bytes:
    """Return a serialized model with the checksum of its bytes appended as an entry of its metadata.

    The checksum, a CRC-32, detects damage by copies and storage, not forgery.
    """
    return data + _SEAL + f"{zlib.crc32(data):08x}".encode()


def _is_whole(data: mmap.mmap) -> bool:
    with memoryview(data) as view, view[:-_SEAL_BYTES] as body:
        return data[-_SEAL_BYTES:] == _SEAL + f"{zlib.crc32(body):08x}".encode()


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[tuple[mmap.mmap, tuple[int, ...]]]:
    """Yield the bytes of a file, memory-mapped so that tensors use no memory, and its identity."""
    try:
        _refuse_unread(path, path.stat(), max_bytes)
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data, _identity(os.fstat(stream.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(f"{path} does not exist; expected an .onnx file. `segtool export` writes one.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise ModelFileError(f"{path} cannot be read ({reason_of(error)}); check its name and permissions.") from error


def _refuse_unread(path: Path, found: os.stat_result, max_bytes: int) -> None:
    """Refuse a path that is not a regular file, is empty or too large; opening a pipe would block."""
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise ModelFileError(f"{path} is {kind}; expected an .onnx file. `segtool export` writes one.")
    if not found.st_size:
        raise ModelFileError(f"{path} is empty (0 bytes); copy it again, or export it again.")
    if found.st_size > max_bytes:
        raise ModelFileError(
            f"{path} has {found.st_size:,} bytes, but the limit is {max_bytes:,}; expected a file of `segtool "
            "export`, or raise max_bytes."
        )


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _scan(message: Message, path: Path) -> list[tuple[bytes, bytes]]:
    """Scan a model; return its metadata, and refuse forbidden content."""
    entries: list[tuple[bytes, bytes]] = []
    functions: set[str] = set()
    operators: set[tuple[str, str]] = set()
    for kind, start, stop in _walk(message):
        if kind == "entry":
            entries.append(_entry(message, start, stop))
        elif kind == "tensor":
            _refuse_external(message, start, stop, path)
        elif kind == "node":
            operators.add(_texts(message, start, stop, (_DOMAIN, _OP_TYPE)))
        elif kind == "function":
            functions.add(_texts(message, start, stop, (_FUNCTION_DOMAIN, _FUNCTION_NAME))[0])
    _refuse_foreign(operators, functions, path)
    return entries


def _walk(message: Message) -> Iterator[tuple[str, int, int]]:
    """Yield the messages of a model that can contain a node or a tensor, outer first: kind, start, stop."""
    whole = len(message.data)
    top = {number for number, _, _ in message.fields(0, whole)}
    if not {_IR_VERSION, _GRAPH} <= top:
        raise ValueError("it has no graph")
    waiting = [("model", 0, whole, 0)]
    while waiting:
        kind, start, stop, depth = waiting.pop()
        yield kind, start, stop
        if depth > _MAX_DEPTH:
            raise ValueError(f"its graphs are nested more than {_MAX_DEPTH // 3} levels deep")
        parts = _PARTS.get(kind, {})
        if parts:
            inner = message.fields(start, stop)
            waiting += [(parts[n], first, last, depth + 1) for n, first, last in inner if n in parts and first >= 0]


def _refuse_external(message: Message, start: int, stop: int, path: Path) -> None:
    for number, first, last in message.fields(start, stop):
        elsewhere = number == _DATA_LOCATION and first < 0 and last
        if elsewhere or (number == _EXTERNAL_DATA and first >= 0):
            key, value = _entry(message, first, last) if first >= 0 else (b"", b"")
            where = f" ({value[:80].decode(errors='replace')!r})" if key == b"location" else ""
            raise ModelFileError(
                f"{path} stores tensors in another file{where}, which segtool never opens; expected one self-contained "
                ".onnx file. Export the model again, or save it without external data."
            )


def _refuse_foreign(operators: set[tuple[str, str]], functions: set[str], path: Path) -> None:
    for domain, name in sorted(operators):
        if domain not in _DOMAINS | functions or (domain, name) in _REFUSED_OPS:
            raise ModelFileError(
                f"{path} needs the operator {name[:80]!r} of {domain[:80]!r}. This is not an operator of onnxruntime, "
                "so it could run code of a library; expected a file of `segtool export`."
            )


def _entry(message: Message, start: int, stop: int) -> tuple[bytes, bytes]:
    """Return key and value of a metadata entry; of a repeated field the last value, as protobuf does."""
    found = {number: message.data[first:last] for number, first, last in message.fields(start, stop) if first >= 0}
    return found.get(1, b""), found.get(2, b"")


def _texts(message: Message, start: int, stop: int, numbers: tuple[int, int]) -> tuple[str, str]:
    """Return two text fields of a message; an empty text for a missing field."""
    found = {number: (first, last) for number, first, last in message.fields(start, stop) if first >= 0}
    first, second = (message.data[slice(*found.get(number, (0, 0)))].decode(errors="replace") for number in numbers)
    return first, second


def _decoded(entries: list[tuple[bytes, bytes]], path: Path) -> dict[str, str]:
    """Return the metadata as text."""
    try:
        # The last value of a repeated key counts, as in protobuf.
        return {key.decode(): value.decode() for key, value in reversed(entries)}
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"The metadata of {path} is not text ({error.reason}), so the file is damaged; copy it again."
        ) from error
