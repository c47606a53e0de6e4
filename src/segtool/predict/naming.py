"""Find the inputs of a prediction, and name the outputs of each."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from segtool.images.decoding import IMAGE_SUFFIXES
from segtool.predict.missing import nothing_found
from segtool.runtime.sources import Source, images_of

SUFFIXES = {
    "labels": ".png",
    "overlay": ".overlay.png",
    "color": ".color.png",
    "contours": ".contours.geojson",
    "probabilities": ".probabilities.npz",
}
"""The suffix of an output after its stem, by kind."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

# The part of a suffix before the whole suffix of another kind: ``.overlay``, ``.color``.
_ENDINGS = tuple(
    one.removesuffix(other)
    for one in SUFFIXES.values()
    for other in SUFFIXES.values()
    if one != other and one.endswith(other)
)


def find_sources(inputs: Sequence[str], *, out: Path) -> tuple[list[Source], list[str]]:
    """Return the images that the arguments match, and the arguments that match nothing.

    A folder is searched recursively for image suffixes, in alphabetical order, without hidden names and without an
    output folder `out` inside it. A pattern that the shell did not expand is expanded, including ``**``. A file is
    used with any suffix, and a .npy file stands for each image in it. A file that is named twice is used once.

    Raises
    ------
    DataError
        No argument matches anything.
    """
    sources: list[Source] = []
    missing: dict[str, None] = {}
    seen, real = set[str](), _RealPaths()
    for text in inputs:
        found = False
        with suppress(OSError):  # a name that is too long, or an unreadable folder: no match
            for source in _expand(text, out):
                found = True
                if (path := real.of(source.file)) not in seen:
                    seen.add(path)
                    sources += images_of(source)
        if not found:
            missing[text] = None
    if not sources:
        raise nothing_found(inputs)
    return sources, list(missing)


def is_url(text: str) -> bool:
    """Return whether an argument is a URL and not a path."""
    return _URL.match(text) is not None


def parse_path_list(data: bytes) -> list[str]:
    """Return the paths of a list, separated by NULs if it contains any (``find -print0``), else by line breaks."""
    separated = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in separated if name]


def common_folder(folders: Iterable[str]) -> Path:
    """Return the common root of these source folders; the outputs mirror the folders below it."""
    return Path(os.path.commonpath({_absolute(folder) for folder in folders}))


def output_stems(sources: Sequence[Source]) -> list[str]:
    """Return the path of each source's outputs under the output folder, without the suffix of `SUFFIXES`.

    Folders are mirrored from the common folder of the sources. `Namer` describes the other rules.
    """
    return list(Namer(common_folder({source.folder for source in sources})).stems(sources))


class Namer:
    """Assign unique names to the outputs of images.

    Outputs have the stem of the image. Images of one folder with the same stem (``a.jpg``, ``a.png``) use their
    full names instead (``a.jpg.png``, ``a.png.png``). A name that is still in use gets ``~2``, ``~3``, ... in the
    order of the sources. An image of a stack is named by its index, as if the stack were a folder:
    ``stack/000012``. Names that differ only in case count as equal, because some file systems ignore the case.
    """

    def __init__(self, folder: Path) -> None:
        self._here = os.getcwd()  # noqa: PTH109 (asked once: of very many names it takes its time)
        self._above = len(_join(str(folder), ""))  # the separator included
        self._taken: set[str] = set()
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
            self._count(_without_suffix(self._relative(source)))
        for stem in kept:
            if stem:
                self._take(stem)
        for source, stem in zip_longest(sources, kept):
            yield stem or self._stem(self._relative(source))

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
        """Return whether an output of this stem would be an output of a stem in use.

        Each kind counts, requested or not, so that a name does not depend on the options.
        """
        longer = [stem + ending for ending in _ENDINGS]
        shorter = [stem.removesuffix(ending) for ending in _ENDINGS if stem.endswith(ending)]
        return any(name in self._taken for name in (stem, *longer, *shorter))

    def _relative(self, source: Source) -> str:
        name = os.path.normpath(_join(self._here, source.file))[self._above :].replace(os.sep, "/")
        if source.index is None:
            return name
        short = _without_suffix(name)
        return f"{short}/{source.index:06d}{name[len(short) :]}"


def real_path(path: str | Path) -> str:
    """Return the target of a path, with links followed; for broken or circular links, the path itself."""
    return os.path.realpath(path)  # Path.resolve raises on circular links


def with_kind(stem: str, kind: str) -> str:
    """Return a stem with the suffix of one kind of output."""
    return stem + SUFFIXES[kind]


def images_below(folder: Path, out: Path, visited: list[str] | None = None) -> Iterator[str]:
    """Yield the image files below a folder, in alphabetical order, without an output folder inside it.

    Files and folders whose names begin with a dot are skipped: unfinished files, and files of editors and systems
    (.ipynb_checkpoints/, ._0001.png). The listed folders are added to `visited`.
    """
    real = real_path(out)
    skipped = None if real == real_path(folder) else real
    left = ["" if folder == Path() else str(folder)]
    while left:
        here = left.pop()
        if visited is not None:
            visited.append(here or os.curdir)
        folders: list[str] = []
        yield from (_join(here, name) for name in sorted(_image_names(here, folders)))
        below = (_join(here, name) for name in sorted(folders, reverse=True))
        left += [path for path in below if not os.path.islink(path) and real_path(path) != skipped]  # noqa: PTH114


def _image_names(folder: str, folders: list[str]) -> Iterator[str]:
    """Yield the image files in a folder, unsorted, and add its folders to a list; nothing if it is not readable."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif _is_image_name(entry.name):
                yield entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # circular links
        return False


def _is_image_name(name: str) -> bool:
    return _suffix(name).lower() in IMAGE_SUFFIXES


class _RealPaths:
    """Resolve paths; files of one folder come together, so the path of the folder is resolved once."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._real = ""

    def of(self, path: str) -> str:
        if os.name == "nt" or os.path.islink(path):  # noqa: PTH114 (Windows has several names for one file)
            return real_path(path)
        folder, name = os.path.split(path)
        if folder != self._folder:
            self._folder, self._real = folder, real_path(folder)
        return _join(self._real, name)


def _expand(text: str, out: Path) -> Iterator[Source]:
    path = Path(text)
    if path.is_dir():
        folder = str(path)
        yield from (Source(file, folder) for file in images_below(path, out))
    elif path.exists():
        yield Source(str(path), str(path.parent))
    elif glob.has_magic(text):
        files = map(Path, sorted(glob.iglob(text, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        yield from (Source(str(file), str(file.parent)) for file in files if file.is_file())


# Names are strings here: with very many images, a `Path` at each step is slow.


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would replace the name that the user gave to a link)


def _without_suffix(name: str) -> str:
    return name.removesuffix(_suffix(name))


def _suffix(name: str) -> str:
    """Return the suffix of a name with ``/`` between folders, as `Path` does."""
    last = name.rpartition("/")[2]
    place = last.rfind(".")
    return last[place:] if 0 < place < len(last) - 1 else ""
