"""The samples of a folder: its images, each with its mask, and what does not match."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segtool.data.convert import outlines_problem
from segtool.data.layout import IMAGES, Place, find_places, image_files, is_mask_beside
from segtool.data.listing_faults import Named, not_read, spelled_twice, unknown_folders, unmatched
from segtool.data.pairing import pair
from segtool.data.problem import Problem
from segtool.text import counted, decoded, some

logger = logging.getLogger(__name__)
Files = Mapping[str, Sequence[Path]]
"""Files by their path below a folder, without suffix; more than one where only their suffixes differ."""

_KINDS_OF_MASKS = (
    ("_labelTrainIds", "_labelIds", "_color", "_instanceTrainIds", "_instanceIds"),
    ("_train_id", "_id", "_train_color", "_color"),
)
"""What masks of one image end with where several kinds stand beside each other, the best first; Cityscapes, BDD100K."""


@dataclass(frozen=True)
class Sample:
    """An image and its mask."""

    name: str  # path of the image below images/, with its part in front: "train/street/0001.png"
    part: str  # "train", "val" or "test"; empty where the folder is not split
    image: Path
    mask: Path


@dataclass(frozen=True)
class Listing:
    """The samples of a folder in the order of their names, and what does not match."""

    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]


def list_samples(folder: Path) -> Listing:
    """Match the images and masks of a folder by their names, as `segtool.data.pairing` does; warn of each choice."""
    places = find_places(folder)
    samples: list[Sample] = []
    problems = spelled_twice(places)
    for place, (images, masks) in zip(places, _one_kind(places, [_files_of(place) for place in places]), strict=True):
        found = _list_part(place, images, masks)
        samples += found.samples
        problems += found.problems
    problems += not_read(folder, places)
    if above := [f"{place.above}/" for place in places if place.above]:
        logger.warning(
            "%s has %d folders with images and masks (%s): they are read as one set.", folder, len(above), some(above)
        )
    if not samples and (outlines := outlines_problem(folder)) is not None:
        problems = [outlines]
    if not samples and all(problem.warning for problem in problems):
        name = places[0].images.name if places else IMAGES[0]
        problems.append(Problem("missing", str(folder), f"{folder} has no images in {name}/; put image files there."))
    return Listing(tuple(samples), tuple(problems))


def _list_part(place: Place, of_images: Files, of_masks: Files) -> Listing:
    problems = [*_repeated(of_images, "images"), *_repeated(of_masks, "masks")]
    images, masks = ({name: paths[0] for name, paths in files.items()} for files in (of_images, of_masks))
    if place.names is not None:
        images, wrong = _listed(place.names, place, images)
        problems += wrong
    pairs = pair(list(images), list(masks))
    if place.names is not None:  # the other masks are of other parts
        masks = {mask: masks[mask] for mask in pairs.masks.values()}
        pairs = replace(pairs, further={}, elsewhere={})
    without = [path for name, path in images.items() if name not in pairs.masks]
    if place.partial and without:
        logger.warning(
            "%s of %s without a mask in %s %s left out, as usual in the layout of Pascal VOC (%s).",
            counted(len(without), "image"),
            place.images,
            place.masks,
            "is" if len(without) == 1 else "are",
            some(without),
        )
        images = {name: path for name, path in images.items() if name in pairs.masks}
    samples = tuple(
        Sample(_sample_name(images[name], place), place.part, images[name], masks[mask])
        for name, mask in pairs.masks.items()
    )
    unknown = None if samples else unknown_folders(place)
    problems += unmatched(images, masks, pairs, place) if unknown is None else [unknown]
    return Listing(samples, tuple(problems))


def _sample_name(path: Path, place: Place) -> str:
    return "/".join(filter(None, (place.part, place.above, path.relative_to(place.images).as_posix())))


def _files_of(place: Place) -> tuple[Files, Files]:
    """Return the images and the masks of a part."""
    if place.images != place.masks:
        return _by_stem(place.images, without=place.masks), _by_stem(place.masks)
    files = _by_stem(place.images)
    masks = {stem: paths for stem, paths in files.items() if is_mask_beside(stem)}
    return {stem: paths for stem, paths in files.items() if stem not in masks}, masks


def _by_stem(folder: Path, *, without: Path | None = None) -> Files:
    """Return the image files below a folder, but those below `without`, sorted."""
    files: dict[str, list[Path]] = {}
    for path in sorted(image_files(folder)):
        if without is None or not path.is_relative_to(without):
            files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return files


def _one_kind(places: Sequence[Place], files: Sequence[tuple[Files, Files]]) -> Sequence[tuple[Files, Files]]:
    """Keep the masks of the best kind that all images have, in every part, where kinds stand beside each other."""
    stems = [stem for _, masks in files for stem in masks]
    images = sum(len(found) for found, masks in files if masks)
    for endings in _KINDS_OF_MASKS:
        kinds = Counter(_ending(stem, endings) for stem in stems)
        if "" in kinds or len(kinds) < 2:
            continue
        whole = [ending for ending in endings if kinds[ending] >= images]
        chosen = whole[0] if whole else max(endings, key=lambda ending: kinds[ending])
        logger.warning(
            "%s has %d kinds of masks: those that end with %s are read, the others (%s) are left out.",
            places[0].masks if len(places) == 1 else places[0].masks.parent,
            len(kinds),
            chosen,
            ", ".join(ending for ending in endings if ending in kinds and ending != chosen),
        )
        return [
            (found, {stem: paths for stem, paths in masks.items() if _ending(stem, endings) == chosen})
            for found, masks in files
        ]
    return files


def _ending(stem: str, endings: Sequence[str]) -> str:
    return next((ending for ending in endings if stem.lower().endswith(ending.lower())), "")


def _listed(file: Path, place: Place, images: Named) -> tuple[dict[str, Path], list[Problem]]:
    """Return the images that the list of a part names, and the names that stand for no image."""
    try:
        lines = decoded(file.read_bytes()).splitlines()
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}); check its permissions."
        return {}, [Problem("unreadable", file.stem, message)]
    names = [line.strip().strip('"') for line in lines if line.strip()]
    found = {name: images[name] for name in names if name in images}
    missing = list(dict.fromkeys(name for name in names if name not in images))
    if not missing or place.partial:
        return found, []
    message = (
        f"{file} lists {counted(len(missing), 'name')} without an image in {place.images} ({some(missing)}), "
        "expected the names of images without their suffix; add the images or take the names out."
    )
    return found, [Problem.of("missing", missing, message)]


def _repeated(files: Files, what: str) -> list[Problem]:
    repeated = {stem: ", ".join(path.name for path in paths) for stem, paths in files.items() if len(paths) > 1}
    if not repeated:
        return []
    message = (
        f"Of {counted(len(repeated), 'name')} there are several {what}, which differ in their suffixes "
        f"({some([*repeated.values()])}), expected one; rename or remove the others."
    )
    return [Problem.of("ambiguous", list(repeated), message)]
