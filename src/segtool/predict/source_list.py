"""Very many images to predict, in their order."""

from __future__ import annotations

import os
from collections.abc import Iterator, KeysView

from segtool.predict.spool import Spool
from segtool.runtime.sources import ARRAY_SUFFIX, Source, stack_length


class Sources:
    """Sources in the order in which they were added; only a few are in memory, whatever their number."""

    def __init__(self) -> None:
        self._folders: dict[str, int] = {}
        # The file, the number of its folder, and the images in it where it is a stack.
        self._files: Spool[tuple[str, int, int | None]] = Spool()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Source]:
        folders = list(self._folders)
        for file, folder, length in self._files:
            if length is None:
                yield Source(file, folders[folder])
            else:
                yield from (Source(file, folders[folder], index) for index in range(length))

    @property
    def folders(self) -> KeysView[str]:
        """The folders that the outputs mirror from."""
        return self._folders.keys()

    def add(self, source: Source) -> None:
        """Add a file; of a .npy stack, each image."""
        is_array = os.path.splitext(source.file)[1].lower() == ARRAY_SUFFIX  # noqa: PTH122 (very many strings)
        length = stack_length(source.path) if is_array else None
        folder = self._folders.setdefault(source.folder, len(self._folders))
        self._files.append((source.file, folder, length))
        self._count += 1 if length is None else length
