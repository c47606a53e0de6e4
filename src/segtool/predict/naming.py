"""Name the outputs of each input of a prediction."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from segtool.runtime.sources import Source

SUFFIXES = {
    "labels": ".png",
    "overlay": ".overlay.png",
    "color": ".color.png",
    "contours": ".contours.geojson",
    "probabilities": ".probabilities.npz",
}
"""The suffix of an output after its stem, by kind."""

# The part of a suffix before the whole suffix of another kind: ``.overlay``, ``.color``.
_ENDINGS = tuple(
    one.removesuffix(other)
    for one in SUFFIXES.values()
    for other in SUFFIXES.values()
    if one != other and one.endswith(other)
)


def output_stems(sources: Sequence[Source]) -> list[str]:
    """Return the path of each source's outputs under the output folder, without the suffix of `SUFFIXES`."""
    return list(Namer(source.folder for source in sources).stems(sources))


class Namer:
    """Assign unique names to the outputs of images, relative to the output folder.

    `folders` are those of the sources; the folders below their common root are mirrored. Outputs have the stem of the
    image. Images of one folder with the same stem (``a.jpg``, ``a.png``) use their full names instead
    (``a.jpg.png``, ``a.png.png``). A name that is still in use gets ``~2``, ``~3``, ... in the order of the sources.
    An image of a stack is named by its index, as if the stack were a folder: ``stack/000012``. Names that differ only
    in case count as equal, because some file systems ignore the case.
    """

    def __init__(self, folders: Iterable[str]) -> None:
        self._here = os.getcwd()  # noqa: PTH109 (asked once: of very many names it takes its time)
        # resolve() would replace the name that the user gave to a link.
        common = os.path.commonpath([os.path.abspath(folder) for folder in set(folders)])  # noqa: PTH100
        self._above = len(joined(common, ""))  # the separator included
        self._taken: set[str] = set()
        self._folders: set[str] = set()  # those of the outputs
        self._stems: Counter[str] = Counter()

    def reserve(self, stem: str) -> None:
        """Reserve a name for an image that already uses it and may not appear again."""
        self._take(stem)
        self._count(stem)

    def stems(self, sources: Iterable[Source], kept: Iterable[str | None] = ()) -> Iterator[str]:
        """Yield the names of images that are found together; the images are iterated twice.

        `kept` has the existing name of each source, or None; it is empty if no source has one.
        """
        for source in sources:
            name = _without_suffix(self._relative(source))
            self._count(name)
            self._add_folders(name.casefold())
        for stem in kept:
            if stem:
                self._take(stem)
        for source, stem in zip_longest(sources, kept):
            yield stem or self._stem(self._relative(source))

    def _add_folders(self, name: str) -> None:
        while (name := name.rpartition("/")[0]) and name not in self._folders:
            self._folders.add(name)

    def _count(self, stem: str) -> None:
        self._stems[stem.casefold()] += 1

    def _stem(self, name: str) -> str:
        short = _without_suffix(name)
        stem = self._first_free(short if self._stems[short.casefold()] == 1 else name)
        self._take(stem)
        return stem

    def _take(self, stem: str) -> None:
        self._taken.add(stem.casefold())

    def _first_free(self, stem: str) -> str:
        candidate, number = stem, 1
        while self._collides(candidate.casefold()):
            number += 1
            candidate = f"{stem}~{number}"
        return candidate

    def _collides(self, stem: str) -> bool:
        """Return whether an output of this stem would be an output of a stem in use, or a folder of outputs.

        Each kind counts, requested or not, so that a name does not depend on the options.
        """
        longer = [stem + ending for ending in _ENDINGS]
        shorter = [stem.removesuffix(ending) for ending in _ENDINGS if stem.endswith(ending)]
        is_folder = any(stem + suffix in self._folders for suffix in SUFFIXES.values())
        return is_folder or any(name in self._taken for name in (stem, *longer, *shorter))

    def _relative(self, source: Source) -> str:
        name = os.path.normpath(joined(self._here, source.file))[self._above :].replace(os.sep, "/")
        if source.index is None:
            return name
        short = _without_suffix(name)
        return f"{short}/{source.index:06d}{name[len(short) :]}"


# Names are strings here: with very many images, a `Path` at each step is slow.


def joined(folder: str, name: str) -> str:
    """Return the path of a name in a folder."""
    return os.path.join(folder, name)  # noqa: PTH118


def _without_suffix(name: str) -> str:
    return name.removesuffix(suffix_of(name))


def suffix_of(name: str) -> str:
    """Return the suffix of a name with ``/`` between folders, as `Path` does."""
    last = name.rpartition("/")[2]
    place = last.rfind(".")
    return last[place:] if 0 < place < len(last) - 1 else ""
