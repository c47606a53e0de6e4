"""Which inputs a prediction on a cluster has, local files and URLs, and what their outputs are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segtool.errors import DataError
from segtool.images.decoding import IMAGE_SUFFIXES
from segtool.predict.missing import named, nothing_found
from segtool.predict.naming import find_sources, output_stems
from segtool.predict.ray_engine.storage import Place, is_url, open_url, without_password
from segtool.runtime.sources import ARRAY_SUFFIX, Source

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Input:
    """One image to predict.

    Attributes
    ----------
    name
        What it is called in the manifest and in errors.
    place
        The file: a local path, absolute, or a place of fsspec.
    stem
        Its outputs' path under the output folder, without the suffix of the kind.
    index
        Its place in a .npy stack; None where the file is one image.
    """

    name: str
    place: Path | Place
    stem: str
    index: int | None = None


@dataclass(frozen=True)
class _Found:
    """An image before its outputs have a name; `source` is what they are named by."""

    name: str
    place: Path | Place
    source: Source


def find_inputs(inputs: Sequence[str], *, out: str) -> tuple[list[Input], list[str]]:
    """Return the images that the arguments name, and the arguments that name nothing.

    Paths are searched and outputs named as by `segtool.predict.naming`, and URLs likewise: a folder is searched below
    for image suffixes, without the output folder, a pattern is expanded, a file is taken whatever its suffix. Paths
    come first, then URLs.

    Raises
    ------
    DataError
        No argument names anything, or a URL cannot be opened or listed, or is of a .npy file.
    MissingExtraError
        A package that a protocol needs is not installed.
    """
    remote: dict[str, _Found] = {}
    missing: list[str] = []
    for url in filter(is_url, inputs):
        listed = list(_expand(url, out))
        if not listed:
            missing.append(without_password(url))
        for one in listed:
            remote.setdefault(one.name, one)
    local, missing_paths = _local([text for text in inputs if not is_url(text)], out)
    found = [*local, *remote.values()]
    missing = [*missing_paths, *missing]
    if not found:
        raise _nothing_found(inputs, missing)
    stems = output_stems([one.source for one in found])
    images = [Input(one.name, one.place, stem, one.source.index) for one, stem in zip(found, stems, strict=True)]
    return images, missing


def _nothing_found(inputs: Sequence[str], missing: Sequence[str]) -> DataError:
    if not any(map(is_url, inputs)):
        return nothing_found(inputs)
    return DataError(
        f"No image was found in {named(missing)}; expected image files, folders of them, patterns or URLs."
    )


def _local(paths: Sequence[str], out: str) -> tuple[list[_Found], list[str]]:
    try:
        sources, missing = find_sources(paths, out=Path(out))
    except DataError:  # nothing was found, which is for the caller to say: there may be URLs
        return [], list(paths)
    return [_Found(source.name, source.path.absolute(), source) for source in sources], missing


def _expand(url: str, out: str) -> Iterator[_Found]:
    place = open_url(url)
    if place.is_file():
        yield _found(place, base=_parent(place.key))
    elif not _MAGIC.search(place.path):
        skipped = None if place.url == out else out + "/"
        for one in map(place.at, place.files_below()):
            is_output = skipped and one.url.startswith(skipped)
            if _is_image(one.key) and not is_output and not _is_hidden(one.key, place.key):
                yield _found(one, base=place.key)
    else:
        fixed = _parent(_MAGIC.split(place.key, maxsplit=1)[0])
        for one in map(place.at, place.matching()):
            if not _is_hidden(one.key, fixed):  # as a pattern of paths leaves them out
                yield _found(one, base=_parent(one.key))


def _found(place: Place, *, base: str) -> _Found:
    """Return an image that is named as if each protocol were a folder of the root."""
    if ".." in place.key.split("/"):
        raise DataError(f"{place.url} has .. in its name, which would lead its outputs out of their folder; rename it.")
    if PurePosixPath(place.key).suffix.lower() == ARRAY_SUFFIX:
        raise DataError(f"{place.url} is a .npy file, which is not read from a URL; give it as a path on all nodes.")
    return _Found(place.url, place, Source(str(_path_of(place.key, place)), str(_path_of(base, place))))


def _path_of(key: str, place: Place) -> Path:
    return Path("/", place.protocol, *filter(None, key.replace("://", "/").split("/")))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(path: str, folder: str) -> bool:
    """Tell whether a file, or a folder between it and `folder`, has a name that begins with a dot."""
    return "/." in f"/{path.removeprefix(folder).lstrip('/')}"
