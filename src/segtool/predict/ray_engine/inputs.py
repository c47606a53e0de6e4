"""The inputs of a prediction on a cluster, local files and URLs, and the names of their outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segtool.errors import DataError
from segtool.images.decoding import IMAGE_SUFFIXES
from segtool.predict.finding import find_sources, is_url
from segtool.predict.missing import named
from segtool.predict.naming import output_stems
from segtool.predict.ray_engine.storage import Location, open_location, without_password
from segtool.runtime.sources import ARRAY_SUFFIX, Source

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Input:
    """One image to predict; `name` is its name in the manifest and in errors."""

    name: str
    place: Location
    stem: str
    """The path of its outputs under the output folder, without the suffix of the kind."""
    index: int | None = None
    """Its position in a .npy stack; None where the file is one image."""


def find_inputs(inputs: Sequence[str], *, out: str) -> tuple[list[Input], list[str]]:
    """Return the images that the arguments match, and the arguments that match nothing.

    Paths are searched and outputs named as in `segtool.predict.naming`. URLs follow the same rules. A folder is
    searched for image suffixes, without the output folder `out`. A pattern is expanded. A file is used with any
    suffix. Paths come first, then URLs.

    Raises
    ------
    DataError
        No argument matches anything, or a URL cannot be opened or listed, or is a .npy file.
    MissingExtraError
        A package that a protocol needs is not installed.
    """
    paths, urls = [text for text in inputs if not is_url(text)], list(filter(is_url, inputs))
    sources: list[Source] = []
    missing = paths
    with suppress(DataError) if urls else nullcontext():
        sources, missing = find_sources(paths, out=Path(out))
    found = {source.name: (open_location(source.file), source) for source in sources}
    for url in urls:
        listed = list(_expand(url, out))
        if not listed:
            missing.append(without_password(url))
        for place, source in listed:
            found.setdefault(place.name, (place, source))
    if not found:
        raise DataError(
            f"No image was found in {named(missing)}; expected image files, folders of them, patterns or URLs."
        )
    stems = output_stems([source for _, source in found.values()])
    return [
        Input(name, place, stem, source.index)
        for (name, (place, source)), stem in zip(found.items(), stems, strict=True)
    ], missing


def _expand(url: str, out: str) -> Iterator[tuple[Location, Source]]:
    """Yield the images of a URL, each with the source that names its outputs."""
    place = open_location(url)
    if place.is_file():
        yield place, _source(place, base=_parent(place.key))
    elif not _MAGIC.search(place.path):
        skipped = None if place.name == out else out + "/"
        for one in place.files_below():
            is_output = skipped and one.name.startswith(skipped)
            if _is_image(one.key) and not is_output and not _is_hidden(one.key, place.key):
                yield one, _source(one, base=place.key)
    else:
        fixed = _parent(_MAGIC.split(place.key, maxsplit=1)[0])
        for one in place.matching():
            if not _is_hidden(one.key, fixed):  # patterns of paths skip hidden names too
                yield one, _source(one, base=_parent(one.key))


def _source(place: Location, *, base: str) -> Source:
    """Return the name of an image as if each protocol were a folder of the root."""
    if ".." in place.key.split("/"):
        raise DataError(
            f"{place.name} contains .. in its name, so its outputs could leave the output folder; rename it."
        )
    if PurePosixPath(place.key).suffix.lower() == ARRAY_SUFFIX:
        raise DataError(
            f"{place.name} is a .npy file, and these are not read from URLs; give a path that exists on all nodes."
        )
    file, folder = (Path("/", place.protocol, *key.replace("://", "/").split("/")) for key in (place.key, base))
    return Source(str(file), str(folder))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(path: str, folder: str) -> bool:
    """Return whether the name of a file, or of a folder between it and `folder`, begins with a dot."""
    return "/." in f"/{path.removeprefix(folder).lstrip('/')}"
