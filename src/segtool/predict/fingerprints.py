"""Which of very many texts came before: a table that keeps 16 bytes of each in place of the text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from hashlib import blake2b

_BYTES = 16  # of a digest: two different texts never share one in practice
_FIRST_SLOTS = 64  # a power of two


class Fingerprints:
    """Numbers texts from 0 on in the order in which they come, an equal one once; about 25 bytes each."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._digests = bytearray()
        # The number of a text and 1, at the place that its digest says, or the next one that is free; 0 is free.
        self._slots = array("I", [0]) * _FIRST_SLOTS
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._digests) // _BYTES

    def __contains__(self, text: str) -> bool:
        return self.find(text) is not None

    def find(self, text: str) -> int | None:
        """Return the number of a text; None where it did not come."""
        number = self._slots[self._slot(_digest(text))]
        return number - 1 if number else None

    def add(self, text: str) -> tuple[int, bool]:
        """Return the number of a text, and whether it is new."""
        digest = _digest(text)
        slot = self._slot(digest)
        number = self._slots[slot]
        if number:
            return number - 1, False
        self._digests += digest
        self._slots[slot] = len(self)
        if 3 * len(self) > 2 * len(self._slots):
            self._grow()
        return len(self) - 1, True

    def _slot(self, digest: bytes) -> int:
        """Return where a digest stands, or would stand."""
        mask = len(self._slots) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while (number := self._slots[slot]) and self._digests[_BYTES * (number - 1) : _BYTES * number] != digest:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        self._slots = array("I", [0]) * (2 * len(self._slots))
        for number in range(len(self)):
            self._slots[self._slot(bytes(self._digests[_BYTES * number : _BYTES * (number + 1)]))] = number + 1


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
