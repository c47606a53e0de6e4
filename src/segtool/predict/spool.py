"""Very many small values in their order, of which a few are in memory and the rest in a temporary file."""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Iterable, Iterator
from typing import IO, Any, Generic, TypeVar

from segtool.errors import OutputWriteError
from segtool.files import write_error

Value = TypeVar("Value")

_IN_MEMORY = 256
_SORTED_AT_ONCE = 8192


class Spool(Generic[Value]):
    """Values of JSON's types, or sequences of them; added at the end, read from the start as often as wanted.

    A tuple may come back as a list. The file has no name and goes with the object, or with the process. It is made
    when there are more values than a few: of one image there is none.
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._latest: list[Value] = []
        self._ends = array("q")
        self._file: IO[bytes] | None = None
        for value in values:
            self.append(value)

    def __len__(self) -> int:
        return _IN_MEMORY * len(self._ends) + len(self._latest)

    def __iter__(self) -> Iterator[Value]:
        begin = 0
        for end in self._ends:
            yield from self._read(begin, end)
            begin = end
        yield from self._latest

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, value: Value) -> None:
        """Add a value.

        Raises
        ------
        OutputWriteError
            There is no room for temporary files.
        """
        self._latest.append(value)
        if len(self._latest) == _IN_MEMORY:
            self._write(json.dumps(self._latest).encode())
            self._latest = []

    def _write(self, data: bytes) -> None:
        begin = self._ends[-1] if self._ends else 0
        try:
            if self._file is None:
                self._file = temporary_file()
            self._file.seek(begin)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise no_temporary_file(error) from error
        self._ends.append(begin + len(data))

    def _read(self, begin: int, end: int) -> list[Any]:
        if self._file is None:
            return []
        self._file.seek(begin)  # several may be reading in turns
        values: list[Any] = json.loads(self._file.read(end - begin))
        return values


def in_order(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts sorted; of very many, parts are sorted one by one and merged from temporary files."""
    parts: list[Spool[str]] = []
    part: list[str] = []
    for text in texts:
        part.append(text)
        if len(part) == _SORTED_AT_ONCE:
            parts.append(Spool(sorted(part)))
            part = []
    part.sort()
    return heapq.merge(*parts, part) if parts else iter(part)


def temporary_file() -> IO[bytes]:
    """Return a new file without a name; an OSError is the caller's."""
    import tempfile  # a few images need none

    return tempfile.TemporaryFile(prefix="segtool-")


def no_temporary_file(error: OSError) -> OutputWriteError:
    """Return the error of one sentence where the system has no room for temporary files."""
    return write_error("a temporary file (TMPDIR says where)", error)
