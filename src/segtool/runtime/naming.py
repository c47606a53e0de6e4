"""Which inputs a prediction has, and where the outputs of each go."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from segtool.files import TEMPORARY
from segtool.runtime.decoding import IMAGE_SUFFIXES
from segtool.runtime.missing import nothing_found
from segtool.runtime.sources import ARRAY_SUFFIX, Source, stack_length

SUFFIXES = {
    "labels": ".png",
    "overlay": ".overlay.png",
    "color": ".color.png",
    "contours": ".contours.geojson",
    "probabilities": ".probabilities.npz",
}
"""What is added to an output's stem, by kind."""


def find_sources(inputs: Sequence[str], *, out: Path) -> tuple[list[Source], list[str]]:
    """Return the images that the arguments name, and the arguments that name nothing.

    A folder is searched below for image suffixes, in alphabetical order, leaving out an output folder `out`
    inside it; a pattern that the shell did not expand is expanded, ``**`` included; a file is taken whatever
    its suffix, and a .npy file is every image in it. A file that is named twice is taken once.

    Raises
    ------
    DataError
        No argument names anything.
    """
    sources: list[Source] = []
    missing: dict[str, None] = {}
    seen: set[str] = set()
    for text in inputs:
        try:
            found = list(_expand(text, out))
        except OSError:  # a name that is too long, a folder that may not be read: it names nothing
            found = []
        if not found:
            missing[text] = None
        for source in found:
            real = real_path(source.file)
            if real not in seen:
                seen.add(real)
                sources += _images_in(source)
    if not sources:
        raise nothing_found(inputs)
    return sources, list(missing)


def parse_path_list(data: bytes) -> list[str]:
    """Return the paths of a list, one a line; or, where it holds a NUL, with NULs between them (``find -print0``)."""
    separated = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in separated if name]


def common_folder(sources: Iterable[Source]) -> Path:
    """Return the folder that the outputs of these sources mirror from."""
    return Path(os.path.commonpath({_absolute(folder) for folder in {source.folder for source in sources}}))


def output_stems(sources: Sequence[Source]) -> list[str]:
    """Return, for each source, its outputs' path under the output folder, without the suffix of `SUFFIXES`.

    Folders are mirrored from the sources' common folder. The rest is said at `Namer`.
    """
    return Namer(common_folder(sources)).stems(sources)


class Namer:
    """Names the outputs of images, no two of them alike.

    An image's outputs carry its stem; images of one folder that share a stem (``a.jpg``, ``a.png``) carry their
    whole names instead (``a.jpg.png``, ``a.png.png``), and a name that is still taken gets ``~2``, ``~3``, ... in the
    order of the sources. An image of a stack is named by its place, as if the stack were a folder:
    ``stack/000012``. Names that differ in case alone count as equal, because some file systems think so.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        self._shared: Counter[str] = Counter()

    def reserve(self, stem: str) -> None:
        """Keep a name for an image that has it already and may not come again."""
        self._take(stem)
        self._shared[_folded(stem)] += 1

    def stems(self, sources: Sequence[Source], kept: Mapping[str, str] | None = None) -> list[str]:
        """Return the names of images that are found together; `kept` has those that some have already, by source."""
        relative = [self._relative(source) for source in sources]
        short = [_without_suffix(name) for name in relative]
        self._shared.update(map(_folded, short))
        for stem in (kept or {}).values():
            self._take(stem)
        names = zip(sources, relative, short, strict=True)
        return [(kept or {}).get(source.name) or self._stem(*both) for source, *both in names]

    def _stem(self, name: str, short: str) -> str:
        stem = self._first_free(short if self._shared[_folded(short)] == 1 else name)
        self._take(stem)
        return stem

    def _take(self, stem: str) -> None:
        self._taken.add(_folded(stem))

    def _first_free(self, stem: str) -> str:
        candidate, number = stem, 1
        while self._collides(_folded(candidate)):
            number += 1
            candidate = f"{stem}~{number}"
        return candidate

    def _collides(self, stem: str) -> bool:
        """Tell whether an output of this stem would be one of a stem that is taken.

        Every kind counts, whether asked for or not, so that a name does not depend on the options. Only the stems are
        kept, not the names of all outputs: of 20,000 images that takes a quarter of the memory.
        """
        names = [with_kind(stem, kind) for kind in SUFFIXES]
        return any(
            name.endswith(suffix) and name.removesuffix(suffix) in self._taken
            for name in names
            for suffix in SUFFIXES.values()
        )

    def _relative(self, source: Source) -> str:
        path = Path(_absolute(source.file)).relative_to(self._folder)
        if source.index is None:
            return path.as_posix()
        return f"{path.with_suffix('').as_posix()}/{source.index:06d}{path.suffix}"


def real_path(path: str | Path) -> str:
    """Return what a path leads to, links followed; of links that lead nowhere or to each other, the path itself."""
    return os.path.realpath(path)  # Path.resolve raises on links in a circle


def with_kind(stem: str, kind: str) -> str:
    """Return a stem with the suffix of one kind of output."""
    return stem + SUFFIXES[kind]


def images_below(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the image files below a folder, in alphabetical order, without those of an output folder inside it."""
    real = real_path(out)
    skipped = None if real == real_path(folder) else real
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if real_path(Path(root, name)) != skipped)
        yield from (Path(root, name) for name in sorted(files) if _is_image_name(name))


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(TEMPORARY)


def _images_in(source: Source) -> Iterator[Source]:
    length = stack_length(source.path) if source.path.suffix.lower() == ARRAY_SUFFIX else None
    if length is None:
        yield source
    else:
        yield from (Source(source.file, source.folder, index) for index in range(length))


def _expand(text: str, out: Path) -> Iterator[Source]:
    path = Path(text)
    if path.is_dir():
        folder = str(path)
        yield from (Source(str(file), folder) for file in images_below(path, out))
    elif path.exists():
        yield Source(str(path), str(path.parent))
    elif glob.has_magic(text):
        files = (Path(name) for name in sorted(glob.glob(text, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        yield from (Source(str(file), str(file.parent)) for file in files if file.is_file())


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would replace the name that the user gave to a link)


def _without_suffix(name: str) -> str:
    return Path(name).with_suffix("").as_posix()


def _folded(name: str) -> str:
    folded = name.casefold()
    return name if folded == name else folded  # the same text once in memory: there may be very many
