"""Find the inputs of a prediction: files, folders, patterns; and say why an argument matches none."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from segtool.errors import DataError
from segtool.images.decoding import IMAGE_SUFFIXES
from segtool.predict.manifest import MANIFEST_NAME, Entry, read_manifest
from segtool.predict.naming import joined, suffix_of
from segtool.runtime.sources import Source, images_of
from segtool.text import clean, shortened

logger = logging.getLogger(__name__)

_MOST_NAMES = 3
_MOST_CHARACTERS, _MOST_ESCAPED = 300, 40  # of an argument, in a message
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


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


def nothing_found(inputs: Sequence[str], *, expected: str = "image files, folders of them, or patterns") -> DataError:
    """Return the error for arguments of which none matches an image, with the reason for each of the first."""
    reasons = ", ".join(map(_reason, inputs[:_MOST_NAMES])) or "no input was given"
    left = len(inputs) - _MOST_NAMES
    more = f", and {left:,} more" if left > 0 else ""
    return DataError(f"No image was found: {reasons}{more}; expected {expected}.")


def missing_entry(text: str) -> Entry:
    """Return the failed entry of an argument that matches nothing."""
    expected = "expected an image file, a folder of them, or a pattern that matches some"
    return Entry(text, status="failed", error=f"{_reason(text)}; {expected}.")


def _reason(text: str) -> str:
    """Return an argument, and the reason why it matches no image."""
    shown = shortened(clean(text), _MOST_CHARACTERS if text.isprintable() else _MOST_ESCAPED)
    # os.path instead of Path, which raises on names that are too long or contain a NUL.
    if os.path.isdir(text):  # noqa: PTH112
        return f"{shown} contains no image files (.npy files in a folder must be named one by one)"
    if os.path.islink(text):  # noqa: PTH114
        return f"{shown} is a broken link"
    return f"{shown} matches no file" if glob.has_magic(text) else f"{shown} does not exist"


def is_url(text: str) -> bool:
    """Return whether an argument is a URL and not a path."""
    return _URL.match(text) is not None


def is_image_name(name: str) -> bool:
    """Return whether a name has the suffix of an image; a folder is searched for such names."""
    return suffix_of(name).lower() in IMAGE_SUFFIXES


def parse_path_list(data: bytes) -> list[str]:
    """Return the paths of a list, separated by NULs if it contains any (``find -print0``), else by line breaks."""
    separated = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in separated if name]


def images_below(folder: Path, out: Path) -> Iterator[str]:
    """Yield the image files below a folder, in alphabetical order, without an output folder inside it.

    The outputs of earlier runs, which their manifests list, are skipped with a warning. So are, without one, files and
    folders whose names begin with a dot: unfinished files, and files of editors and systems (.ipynb_checkpoints/,
    ._0001.png).
    """
    real = _real_path(out)
    skipped = None if real == _real_path(folder) else real
    left = ["" if folder == Path() else str(folder)]
    earlier: set[str] = set()
    while left:
        here = left.pop()
        folders: list[str] = []
        earlier.update(joined(here, name) for name in _outputs_in(here))
        files = (joined(here, name) for name in sorted(_image_names(here, folders)))
        yield from (file for file in files if file not in earlier)
        below = (joined(here, name) for name in sorted(folders, reverse=True))
        left += [path for path in below if not os.path.islink(path) and _real_path(path) != skipped]  # noqa: PTH114


def _outputs_in(folder: str) -> frozenset[str]:
    """Return the outputs of an earlier run that the manifest in a folder lists, relative to the folder."""
    path = joined(folder, MANIFEST_NAME)
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return frozenset()
    return _listed_in(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _listed_in(manifest: str, *_state: int) -> frozenset[str]:
    """Return the outputs that a manifest lists; none if the file is another program's."""
    try:
        entries = read_manifest(Path(manifest)).entries
    except DataError:
        return frozenset()
    logger.warning("%s lists outputs of an earlier run, which are left out; to predict them, name the files.", manifest)
    return frozenset(name for entry in entries for name in entry.outputs.values())


def _image_names(folder: str, folders: list[str]) -> Iterator[str]:
    """Yield the image files in a folder, unsorted, and add its folders to a list; nothing if it is not readable."""
    with suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif is_image_name(entry.name):
                yield entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # circular links
        return False


class _RealPaths:
    """Resolve paths; files of one folder come together, so the path of the folder is resolved once."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._real = ""

    def of(self, path: str) -> str:
        if os.name == "nt" or os.path.islink(path):  # noqa: PTH114 (Windows has several names for one file)
            return _real_path(path)
        folder, name = os.path.split(path)
        if folder != self._folder:
            self._folder, self._real = folder, _real_path(folder)
        return joined(self._real, name)


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


def _real_path(path: str | Path) -> str:
    """Return the target of a path, with links followed; for broken or circular links, the path itself."""
    return os.path.realpath(path)  # Path.resolve raises on circular links
