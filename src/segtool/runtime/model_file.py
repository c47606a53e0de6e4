"""What is checked of a model file before onnxruntime sees it.

A file is refused that is no ONNX model, is larger than the caller allows, keeps tensors in other files (onnxruntime
would read whatever path stands there), needs operators that are not onnxruntime's own (they come from libraries), or
has other bytes than its export wrote. The check needs no package beside Python's own and reads the tensors' bytes for
their checksum alone.

A file that passes is still a program: it can take memory and time as it likes, and a graph made for that ends the
process (see `segtool.runtime.sandbox`). Run models of strangers in a process with limits.
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

from segtool.errors import ModelFileError
from segtool.runtime.protobuf import Message

MAX_MODEL_BYTES = 2**31 - 1
"""The largest file that is opened by default: protobuf, and so a file without external data, ends there."""

CHECKSUM_KEY = "segtool.crc32"
"""The metadata that `sealed` puts behind a file; it is checked where it is there, older files have none."""

# The entry as protobuf writes it: metadata_props (14), its length, key (1), value (2) of eight hex digits.
_SEAL = b"\x72\x19\x0a\x0d" + CHECKSUM_KEY.encode() + b"\x12\x08"
_SEAL_BYTES = len(_SEAL) + 8

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# com.microsoft.EPContext makes a provider load a compiled network from a path that stands in the node.
_REFUSED_OPS = frozenset({("com.microsoft", "EPContext")})
_MAX_DEPTH = 48  # levels of messages: a graph inside a node of a graph is three

# The messages of onnx.proto that can hold a node or a tensor: field number to what is in it.
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
        Where it is.
    metadata
        Its metadata, the contract among them.
    identity
        Device, inode, size and time of change of the file that was checked.
    """

    path: Path
    metadata: Mapping[str, str]
    identity: tuple[int, ...]

    def require_unchanged(self) -> None:
        """Refuse where another file has taken the place of the one that was checked.

        Raises
        ------
        ModelFileError
            The file is another one, or was written to.
        """
        try:
            unchanged = _identity(self.path.stat()) == self.identity
        except OSError:
            unchanged = False
        if not unchanged:
            raise ModelFileError(f"{self.path} was replaced while it was opened; open it again when it is whole.")


def check_model_file(path: str | Path, *, max_bytes: int = MAX_MODEL_BYTES) -> ModelFile:
    """Check an ONNX file without opening it with onnxruntime.

    Parameters
    ----------
    path
        The file; a link to one is followed.
    max_bytes
        Larger files are refused unread.

    Raises
    ------
    ModelFileError
        The file is missing, no regular file, empty, too large, no whole ONNX model, or one of those that the module's
        docstring names.
    """
    source = Path(path)
    with _opened(source, max_bytes) as (data, identity):
        try:
            entries = _scan(Message(data), source)
        except ValueError as error:
            raise ModelFileError(
                f"{source} is not an ONNX file, or is damaged or truncated ({error}); expected an .onnx file made by "
                "`segtool export`, copy it again."
            ) from error
        metadata = _decoded(entries, source)
        if CHECKSUM_KEY in metadata and not _is_whole(data):
            raise ModelFileError(
                f"{source} is damaged: its bytes are not those that `segtool export` wrote; copy it again, or, if it "
                f"was edited on purpose, remove the metadata {CHECKSUM_KEY!r} from it."
            )
    return ModelFile(source, metadata, identity)


def sealed(data: bytes) -> bytes:
    """Return a serialized model with the checksum of its bytes behind them, as one more entry of its metadata.

    The checksum, a CRC-32, finds damage of copies and of storage, not forgery.
    """
    return data + _SEAL + f"{zlib.crc32(data):08x}".encode()


def _is_whole(data: mmap.mmap) -> bool:
    with memoryview(data) as view, view[:-_SEAL_BYTES] as body:
        return data[-_SEAL_BYTES:] == _SEAL + f"{zlib.crc32(body):08x}".encode()


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[tuple[mmap.mmap, tuple[int, ...]]]:
    """Give a file's bytes, mapped so that those of its tensors cost no memory, and its identity."""
    try:
        _refuse_unread(path, path.stat(), max_bytes)
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data, _identity(os.fstat(stream.fileno()))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(f"{path} does not exist; expected an .onnx file, `segtool export` makes one.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be read ({reason}); check its name and permissions.") from error


def _refuse_unread(path: Path, found: os.stat_result, max_bytes: int) -> None:
    """Refuse what is no regular file, empty or too large; a pipe must not even be opened, which would wait."""
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
        raise ModelFileError(f"{path} is {kind}; expected an .onnx file, `segtool export` makes one.")
    if not found.st_size:
        raise ModelFileError(f"{path} is empty (0 bytes); copy it again, or export it again.")
    if found.st_size > max_bytes:
        raise ModelFileError(
            f"{path} has {found.st_size:,} bytes, at most {max_bytes:,} are opened; expected a file as `segtool "
            "export` makes it, or raise max_bytes."
        )


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _scan(message: Message, path: Path) -> list[tuple[bytes, bytes]]:
    """Walk over a model; return its metadata, and refuse what it must not hold."""
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
    """Yield the messages of a model that can hold a node or a tensor, outer before inner: kind, start, stop."""
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
                f"{path} keeps tensors in another file{where}, which is never opened; expected one self-contained "
                ".onnx file, export the model again or save it without external data."
            )


def _refuse_foreign(operators: set[tuple[str, str]], functions: set[str], path: Path) -> None:
    for domain, name in sorted(operators):
        if domain not in _DOMAINS | functions or (domain, name) in _REFUSED_OPS:
            raise ModelFileError(
                f"{path} needs the operator {name[:80]!r} of {domain[:80]!r}, which is not one of onnxruntime's own "
                "and could run code of a library; expected a file made by `segtool export`."
            )


def _entry(message: Message, start: int, stop: int) -> tuple[bytes, bytes]:
    """Return key and value of a metadata entry; of one that stands there twice, the last, as protobuf does."""
    found = {number: message.data[first:last] for number, first, last in message.fields(start, stop) if first >= 0}
    return found.get(1, b""), found.get(2, b"")


def _texts(message: Message, start: int, stop: int, numbers: tuple[int, int]) -> tuple[str, str]:
    """Return two text fields of a message; an empty text where one is not there."""
    found = {number: (first, last) for number, first, last in message.fields(start, stop) if first >= 0}
    first, second = (message.data[slice(*found.get(number, (0, 0)))].decode(errors="replace") for number in numbers)
    return first, second


def _decoded(entries: list[tuple[bytes, bytes]], path: Path) -> dict[str, str]:
    """Return the metadata as text."""
    try:
        return {key.decode(): value.decode() for key, value in reversed(entries)}  # of two, the last, as protobuf does
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"The metadata of {path} are no text ({error.reason}), so the file is damaged; copy it again."
        ) from error
