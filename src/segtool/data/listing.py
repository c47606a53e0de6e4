"""Which files of a folder belong together: an image and its mask have the same name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from segtool.data.layout import IMAGES, Place, find_places, image_files
from segtool.data.problem import Problem

Files = dict[str, list[Path]]
"""Files by their path below a folder, without suffix; more than one where only their suffixes differ."""


@dataclass(frozen=True)
class Sample:
    """An image and its mask.

    Attributes
    ----------
    name
        Path of the image below images/, with its part in front: "train/street/0001.png".
    part
        "train", "val" or "test"; empty where the folder is not split.
    image, mask
        The files.
    """

    name: str
    part: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Listing:
    """The samples of a folder in the order of their names, and what does not match."""

    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]


def is_image_folder(folder: Path) -> bool:
    """Return whether a folder has images and masks in an arrangement that is known."""
    return bool(find_places(folder))


def list_samples(folder: Path) -> Listing:
    """Match images and masks by their path below their folders, without the suffix.

    Where no two names are the same, what all images and what all masks end with is left out: 0001.png and 0001_L.png.
    """
    places = find_places(folder)
    samples: list[Sample] = []
    problems: list[Problem] = _spelled_twice(places)
    for place in places:
        found, wrong = _list_part(place)
        samples += found
        problems += wrong
    if not samples and not problems:
        problems.append(Problem("missing", str(folder), f"{folder} has no images in {IMAGES}/; put image files there."))
    return Listing(tuple(samples), tuple(problems))


def _spelled_twice(places: Sequence[Place]) -> list[Problem]:
    parts = [place.part for place in places]
    return [
        Problem(
            "ambiguous",
            str(place.images),
            f"{places[parts.index(place.part)].images} and {place.images} are both the part {place.part!r}, expected "
            "one; merge or remove one of them.",
        )
        for index, place in enumerate(places)
        if place.part in parts[:index]
    ]


def _list_part(place: Place) -> tuple[list[Sample], list[Problem]]:
    images, masks = _matching(_by_stem(place.images), _by_stem(place.masks))
    problems = [*_repeated(images, "images"), *_repeated(masks, "masks")]
    problems += _unmatched(images, masks, f"has no mask of the same name in {place.masks}; add it or remove the image")
    problems += _unmatched(masks, images, f"has no image of the same name in {place.images}; add it or remove the mask")
    samples = [
        Sample(_name(files[0], place.images, place.part), place.part, files[0], masks[stem][0])
        for stem, files in images.items()
        if stem in masks
    ]
    return samples, problems


def _by_stem(folder: Path) -> Files:
    """Return the image files below a folder, by their relative path without suffix, sorted."""
    files: Files = {}
    for path in sorted(image_files(folder)):
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return files


def _matching(images: Files, masks: Files) -> tuple[Files, Files]:
    """Return both by the names that they share: their own, or without the ending that all of a kind have."""
    if images.keys() & masks.keys():
        return images, masks
    short_images, short_masks = _without_ending(images), _without_ending(masks)
    choices = ((images, masks), (images, short_masks), (short_images, masks), (short_images, short_masks))
    return max(choices, key=lambda pair: len(pair[0].keys() & pair[1].keys()))


def _without_ending(files: Files) -> Files:
    """Return files by their names without what all end with, from a _ or - on: 0001_L and 0002_L are 0001 and 0002."""
    backward = sorted(stem[::-1] for stem in files)
    if len(backward) < 2:
        return files
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(backward[0], backward[-1], strict=False))
    ending = re.search(r"[_-][^/]*$", "".join(letter for letter, _ in shared)[::-1])
    length = len(ending.group()) if ending else 0
    return {stem[: len(stem) - length]: paths for stem, paths in files.items()}


def _repeated(files: Files, what: str) -> list[Problem]:
    return [
        Problem(
            "ambiguous",
            stem,
            f"{len(paths)} {what} have the name {stem!r} ({', '.join(path.name for path in paths)}), expected one; "
            "rename or remove the others.",
        )
        for stem, paths in files.items()
        if len(paths) > 1
    ]


def _unmatched(files: Files, others: Files, what: str) -> list[Problem]:
    return [Problem("missing", stem, f"{paths[0]} {what}.") for stem, paths in files.items() if stem not in others]


def _name(path: Path, folder: Path, part: str) -> str:
    relative = path.relative_to(folder).as_posix()
    return f"{part}/{relative}" if part else relative
