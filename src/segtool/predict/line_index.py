"""Where in a file the line of each of very many names begins."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from segtool.predict.fingerprints import Fingerprints


class LineIndex:
    """The last line of each name, by its offset in bytes; about 35 bytes for each name.

    Attributes
    ----------
    offsets
        Of the lines, in the order in which their names first came.
    """

    def __init__(self) -> None:
        self.offsets = array("q")
        self._names = Fingerprints()

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, name: str, offset: int) -> None:
        """Note where a line of a name begins; an earlier one of that name no longer counts."""
        number, is_new = self._names.add(name)
        if is_new:
            self.offsets.append(offset)
        else:
            self.offsets[number] = offset

    def find(self, name: str) -> int | None:
        """Return where the line of a name begins; None where there is none."""
        number = self._names.find(name)
        return None if number is None else self.offsets[number]

    def others(self, names: Iterable[str]) -> Iterator[int]:
        """Yield where the lines of all but some names begin, in their order."""
        is_named = bytearray(len(self))
        for name in names:
            number = self._names.find(name)
            if number is not None:
                is_named[number] = True
        yield from (offset for offset, named in zip(self.offsets, is_named, strict=True) if not named)
