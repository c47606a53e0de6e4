"""Which inputs a prediction has, and where the outputs of each go."""

from __future__ import annotations

import glob
import os
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
"""What is added to an output's stem, by kind."""

# What one kind's suffix has before the whole of another's: ``.overlay``, ``.color``.
_ENDINGS = tuple(
    one.removesuffix(other)
    for one in SUFFIXES.values()
    for other in SUFFIXES.values()
    if one != other and one.endswith(other)
)


def find_sources(inputs: Sequence[str], *, out: Path) -> tuple[list[Source], list[str]]:
    """Return the images that the arguments name, and the arguments that name nothing.

    A folder is searched below for image suffixes, in alphabetical order, leaving out hidden names and an output folder
    `out` inside it; a pattern that the shell did not expand is expanded, ``**`` included; a file is taken whatever
    its suffix, and a .npy file is every image in it. A file that is named twice is taken once.

    Raises
    ------
    DataError
        No argument names anything.
    """
    sources: list[Source] = []
    missing: dict[str, None] = {}
    seen, real = set[str](), _RealPaths()
    for text in inputs:
        found = False
        with suppress(OSError):  # a name that is too long, a folder that may not be read: it names nothing
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


def parse_path_list(data: bytes) -> list[str]:
    """Return the paths of a list, one a line; or, where it holds a NUL, with NULs between them (``find -print0``)."""
    separated = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in separated if name]


def common_folder(folders: Iterable[str]) -> Path:
    """Return the folder that the outputs of sources of these folders mirror from."""
    return Path(os.path.commonpath({_absolute(folder) for folder in folders}))


def output_stems(sources: Sequence[Source]) -> list[str]:
    """Return, for each source, its outputs' path under the output folder, without the suffix of `SUFFIXES`.

    Folders are mirrored from the sources' common folder. The rest is said at `Namer`.
    """
    return list(Namer(common_folder({source.folder for source in sources})).stems(sources))


class Namer:
    """Names the outputs of images, no two of them alike.

    An image's outputs carry its stem; images of one folder that share a stem (``a.jpg``, ``a.png``) carry their
    whole names instead (``a.jpg.png``, ``a.png.png``), and a name that is still taken gets ``~2``, ``~3``, ... in the
    order of the sources. An image of a stack is named by its place, as if the stack were a folder:
    ``stack/000012``. Names that differ in case alone count as equal, because some file systems think so.
    """

    def __init__(self, folder: Path) -> None:
        self._here = os.getcwd()  # noqa: PTH109 (asked once: of very many names it takes its time)
        self._above = len(_join(str(folder), ""))  # the separator included
        self._taken: set[str] = set()
        self._stems: Counter[str] = Counter()

    def reserve(self, stem: str) -> None:
        """Keep a name for an image that has it already and may not come again."""
        self._take(stem)
        self._count(stem)

    def stems(self, sources: Iterable[Source], kept: Iterable[str | None] = ()) -> Iterator[str]:
        """Yield the names of images that are found together, which are gone through twice.

        `kept` has, for each source, the name that it has already, or None; nothing at all where there are none.
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
        """Tell whether an output of this stem would be one of a stem that is taken.

        Every kind counts, whether asked for or not, so that a name does not depend on the options.
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
    """Return what a path leads to, links followed; of links that lead nowhere or to each other, the path itself."""
    return os.path.realpath(path)  # Path.resolve raises on links in a circle


def with_kind(stem: str, kind: str) -> str:
    """Return a stem with the suffix of one kind of output."""
    return stem + SUFFIXES[kind]


def images_below(folder: Path, out: Path, visited: list[str] | None = None) -> Iterator[str]:
    """Yield the image files below a folder, in alphabetical order, without those of an output folder inside it.

    Names that begin with a dot are left out, of files and of folders: unfinished files, and what editors and systems
    keep for themselves (.ipynb_checkpoints/, ._0001.png). The folders that were listed are added to `visited`.
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
    """Yield the image files in a folder as they come, and add its folders to a list; none where it may not be read."""
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
    except OSError:  # links in a circle
        return False


def _is_image_name(name: str) -> bool:
    return _suffix(name).lower() in IMAGE_SUFFIXES


class _RealPaths:
    """What paths lead to; files of one folder come together, whose own path is then followed once."""

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


# Names are strings here: of very many images, a `Path` at each step takes its time.


def _join(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would replace the name that the user gave to a link)


def _without_suffix(name: str) -> str:
    return name.removesuffix(_suffix(name))


def _suffix(name: str) -> str:
    """Return the suffix of a name with ``/`` between folders, by the rules of `Path`."""
    last = name.rpartition("/")[2]
    place = last.rfind(".")
    return last[place:] if 0 < place < len(last) - 1 else ""
