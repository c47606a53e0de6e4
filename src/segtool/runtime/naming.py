"""Which inputs a prediction has, and where the outputs of each go."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.runtime.image_io import IMAGE_SUFFIXES

SUFFIXES = {
    "labels": ".png",
    "overlay": ".overlay.png",
    "color": ".color.png",
    "probabilities": ".probabilities.npz",
}
"""What is added to an output's stem, by kind."""


@dataclass(frozen=True)
class Source:
    """One image to predict.

    Attributes
    ----------
    path
        The file, as reached from the argument that named it.
    base
        The folder of that argument, which the outputs mirror from.
    """

    path: Path
    base: Path


def find_sources(inputs: Sequence[str], *, out: Path) -> tuple[list[Source], list[str]]:
    """Return the images that the arguments name, and the arguments that name nothing.

    A folder is searched below for image suffixes, in alphabetical order, leaving out an output folder `out`
    inside it; a pattern that the shell did not expand is expanded, ``**`` included; a file is taken whatever
    its suffix. A file that is named twice is taken once.

    Raises
    ------
    DataError
        No argument names anything.
    """
    sources: dict[str, Source] = {}
    missing = []
    for text in inputs:
        try:
            found = list(_expand(text, out))
        except OSError:  # a name that is too long, a folder that may not be read: it names nothing
            found = []
        if not found:
            missing.append(text)
        for source in found:
            sources.setdefault(real_path(source.path), source)
    if not sources:
        named = ", ".join(inputs) or "nothing"
        raise DataError(f"No image was found in {named}; expected image files, folders of them, or patterns.")
    return list(sources.values()), missing


def output_stems(sources: Sequence[Source]) -> list[Path]:
    """Return, for each source, its outputs' path under the output folder, without the suffix of `SUFFIXES`.

    Folders are mirrored from the sources' common folder. An image's outputs carry its stem; images of one
    folder that share a stem (``a.jpg``, ``a.png``) carry their whole names instead (``a.jpg.png``,
    ``a.png.png``), and a name that is still taken gets ``~2``, ``~3``, ... in the sources' order. Names that
    differ in case alone count as equal, because some file systems think so.
    """
    common = _common_folder(sources)
    relative = [_below(source.path, common) for source in sources]
    shared = Counter(_folded(path.with_suffix("")) for path in relative)
    taken: set[str] = set()
    stems = []
    for path in relative:
        short = path.with_suffix("")
        stem = _first_free(short if shared[_folded(short)] == 1 else path, taken)
        # Every kind is reserved, whether asked for or not, so that a name does not depend on the options.
        taken.update(_folded(with_kind(stem, kind)) for kind in SUFFIXES)
        stems.append(stem)
    return stems


def real_path(path: Path) -> str:
    """Return what a path leads to, links followed; of links that lead nowhere or to each other, the path itself."""
    return os.path.realpath(path)  # Path.resolve raises on links in a circle


def with_kind(stem: Path, kind: str) -> Path:
    """Return a stem with the suffix of one kind of output."""
    return stem.with_name(stem.name + SUFFIXES[kind])


def _first_free(stem: Path, taken: set[str]) -> Path:
    candidate, number = stem, 1
    while any(_folded(with_kind(candidate, kind)) in taken for kind in SUFFIXES):
        number += 1
        candidate = stem.with_name(f"{stem.name}~{number}")
    return candidate


def _expand(text: str, out: Path) -> Iterator[Source]:
    path = Path(text)
    if path.is_dir():
        yield from (Source(file, path) for file in _images_below(path, out))
    elif path.exists():
        yield Source(path, path.parent)
    elif glob.has_magic(text):
        files = (Path(name) for name in sorted(glob.glob(text, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute pattern)
        yield from (Source(file, file.parent) for file in files if file.is_file())


def _images_below(folder: Path, out: Path) -> Iterator[Path]:
    """Yield the image files below a folder, in alphabetical order, without those of an output folder inside it."""
    skipped = real_path(out) if real_path(out) != real_path(folder) else None
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if real_path(Path(root) / name) != skipped)
        yield from (Path(root) / name for name in sorted(files) if Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _common_folder(sources: Sequence[Source]) -> Path:
    return Path(os.path.commonpath([_absolute(source.base) for source in sources]))


def _below(path: Path, folder: Path) -> Path:
    return Path(_absolute(path)).relative_to(folder)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (resolve() would replace the name that the user gave to a link)


def _folded(path: Path) -> str:
    return path.as_posix().casefold()
