"""Which files of a folder belong together: images/ and masks/, or train/, val/ and test/ above them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segtool.data.problem import Problem
from segtool.runtime.image_io import IMAGE_SUFFIXES

IMAGES, MASKS = "images", "masks"
PARTS = ("train", "val", "test")


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
    """Return whether a folder has images/ or masks/, itself or below train/, val/ or test/."""
    return any((folder / part / kind).is_dir() for part in ("", *PARTS) for kind in (IMAGES, MASKS))


def list_samples(folder: Path) -> Listing:
    """Match images and masks by their path below images/ and masks/, without the suffix."""
    whole = any((folder / kind).is_dir() for kind in (IMAGES, MASKS))
    samples: list[Sample] = []
    problems: list[Problem] = []
    for part in ("",) if whole else PARTS:
        if (folder / part).is_dir():
            found, wrong = _list_part(folder / part, part)
            samples += found
            problems += wrong
    if not samples and not problems:
        problems.append(Problem("missing", str(folder), f"{folder} has no images in {IMAGES}/; put image files there."))
    return Listing(tuple(samples), tuple(problems))


def _list_part(folder: Path, part: str) -> tuple[list[Sample], list[Problem]]:
    images, masks = _by_stem(folder / IMAGES), _by_stem(folder / MASKS)
    problems = [*_repeated(images, "images"), *_repeated(masks, "masks")]
    problems += _unmatched(
        images, masks, f"has no mask of the same name in {folder / MASKS}; add it or remove the image"
    )
    problems += _unmatched(
        masks, images, f"has no image of the same name in {folder / IMAGES}; add it or remove the mask"
    )
    samples = [
        Sample(_name(files[0], folder / IMAGES, part), part, files[0], masks[stem][0])
        for stem, files in images.items()
        if stem in masks
    ]
    return samples, problems


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the image files below a folder, by their relative path without suffix, sorted."""
    files: dict[str, list[Path]] = {}
    for path in sorted(_image_files(folder)):
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return files


def _image_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _repeated(files: dict[str, list[Path]], what: str) -> list[Problem]:
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


def _unmatched(files: dict[str, list[Path]], others: dict[str, list[Path]], what: str) -> list[Problem]:
    return [Problem("missing", stem, f"{paths[0]} {what}.") for stem, paths in files.items() if stem not in others]


def _name(path: Path, folder: Path, part: str) -> str:
    relative = path.relative_to(folder).as_posix()
    return f"{part}/{relative}" if part else relative
