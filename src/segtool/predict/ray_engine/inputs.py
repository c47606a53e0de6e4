"""The inputs of a prediction on a cluster, local files and URLs, and the names of their outputs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from segtool.errors import DataError
from segtool.predict.finding import find_sources, is_image_name, is_url, nothing_found
from segtool.predict.naming import output_stems, suffix_of
from segtool.predict.ray_engine.storage import Location, open_location, without_password
from segtool.runtime.sources import ARRAY_SUFFIX, Source

_MAGIC = re.compile(r"[*?[]")
_LOCAL = "file://"


@dataclass(frozen=True)
class Input:
    """One image to predict.

    Attributes
    ----------
    name
        Its name in the manifest and in errors.
    stem
        The path of its outputs under the output folder, without the suffix of the kind.
    place
        Its file: a path that exists on all nodes, or a remote file.
    """

    name: str
    stem: str
    place: Source | Location


def without_file_protocol(text: str) -> str:
    """Return the path of a file:// URL; any other argument is returned unchanged."""
    return text.removeprefix(_LOCAL)


def find_inputs(inputs: Sequence[str], *, out: Path | Location) -> tuple[list[Input], list[str]]:
    """Return the images that the arguments match, and the arguments that match nothing.

    Paths are searched and outputs named as in `segtool.predict.naming`. URLs follow the same rules. A folder is
    searched for image suffixes, without the output folder `out`. A pattern is expanded. A file is used with any
    suffix. Paths come first, then URLs; a file:// URL is a path.

    Raises
    ------
    DataError
        No argument matches anything, or a URL cannot be opened or listed, or is a .npy file.
    MissingExtraError
        A package that a protocol needs is not installed.
    """
    arguments = list(map(without_file_protocol, inputs))
    missing, urls = [text for text in arguments if not is_url(text)], list(filter(is_url, arguments))
    sources: list[Source] = []
    with suppress(DataError) if urls else nullcontext():
        sources, missing = find_sources(missing, out=out if isinstance(out, Path) else Path(str(out)))
    found: dict[str, tuple[Source | Location, Source]] = {
        # The nodes have other working folders.
        source.name: (replace(source, file=str(source.path.absolute())), source)
        for source in sources
    }
    for url in urls:
        listed = list(_expand(url, out))
        if not listed:
            missing.append(without_password(url))
        for place, source in listed:
            found.setdefault(place.name, (place, source))
    if not found:
        raise nothing_found(missing, expected="image files, folders of them, patterns or URLs")
    stems = output_stems([source for _, source in found.values()])
    return [Input(name, stem, place) for (name, (place, _)), stem in zip(found.items(), stems, strict=True)], missing


def _expand(url: str, out: Path | Location) -> Iterator[tuple[Location, Source]]:
    """Yield the images of a URL, each with the source that names its outputs."""
    place = open_location(url)
    if place.is_file():
        yield place, _source(place, base=posixpath.dirname(place.key))
    elif not _MAGIC.search(place.path):
        skipped = f"{out.name}/" if isinstance(out, Location) and out.name != place.name else None
        for one in place.files_below():
            is_output = skipped and one.name.startswith(skipped)
            if is_image_name(one.key) and not is_output and not _is_hidden(one.key, place.key):
                yield one, _source(one, base=place.key)
    else:
        fixed = posixpath.dirname(_MAGIC.split(place.key, maxsplit=1)[0])
        for one in place.matching():
            if not _is_hidden(one.key, fixed):  # patterns of paths skip hidden names too
                yield one, _source(one, base=posixpath.dirname(one.key))


def _source(place: Location, *, base: str) -> Source:
    """Return the name of an image as if each protocol were a folder of the root."""
    if ".." in place.key.split("/"):
        raise DataError(
            f"{place.name} contains .. in its name, so its outputs could leave the output folder; rename it."
        )
    if suffix_of(place.key).lower() == ARRAY_SUFFIX:
        raise DataError(
            f"{place.name} is a .npy file, and these are not read from URLs; give a path that exists on all nodes."
        )
    file, folder = (Path("/", place.protocol, *key.replace("://", "/").split("/")) for key in (place.key, base))
    return Source(str(file), str(folder))


def _is_hidden(path: str, folder: str) -> bool:
    """Return whether the name of a file, or of a folder between it and `folder`, begins with a dot."""
    return "/." in f"/{path.removeprefix(folder).lstrip('/')}"
