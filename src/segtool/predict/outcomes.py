"""What became of each input of a run so far."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from segtool.predict.manifest import Status
from segtool.predict.spool import Spool

_STATUSES: tuple[Status, ...] = ("not run", "done", "failed", "skipped")
_NO_LINE = -1


class Outcomes:
    """Inputs in the manifest's order, by their numbers from 0 on; 9 bytes of each are in memory."""

    def __init__(self) -> None:
        self._names: Spool[str] = Spool()
        self._status = bytearray()
        self._lines = array("q")
        self._counts = dict.fromkeys(_STATUSES, 0)

    def __len__(self) -> int:
        return len(self._status)

    def __iter__(self) -> Iterator[tuple[str, Status, int]]:
        """Yield the name, the status and the journal's line of each input."""
        for name, status, line in zip(self._names, self._status, self._lines, strict=True):
            yield name, _STATUSES[status], line

    @property
    def names(self) -> Spool[str]:
        """What the inputs are called."""
        return self._names

    def add(self, name: str, status: Status = "not run") -> int:
        """Add an input; return its number."""
        self._names.append(name)
        self._status.append(_STATUSES.index(status))
        self._lines.append(_NO_LINE)
        self._counts[status] += 1
        return len(self) - 1

    def set(self, number: int, status: Status, line: int = _NO_LINE) -> None:
        """Note what became of an input, and where the journal says it."""
        self._counts[self.status(number)] -= 1
        self._counts[status] += 1
        self._status[number] = _STATUSES.index(status)
        self._lines[number] = line

    def status(self, number: int) -> Status:
        """Return what became of an input so far."""
        return _STATUSES[self._status[number]]

    def count(self, status: Status) -> int:
        """Return of how many inputs that is what became of them."""
        return self._counts[status]
