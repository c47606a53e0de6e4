"""What is wrong with how the images and masks of a folder hold their pixels; every command finds it here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segtool.data.base import show_size
from segtool.data.channel_faults import bands_in_alpha, masks_in_alpha, small_range
from segtool.data.headers import Pair, files_like, grouped, has_or_have
from segtool.data.mask_files import survey_masks
from segtool.data.mask_values import LEAST_SPAN, SoftMasksError
from segtool.data.problem import Problem
from segtool.errors import DataError
from segtool.text import counted


def file_problems(folder: Path, pairs: Sequence[Pair]) -> list[Problem]:
    """Return what is wrong with the files of a folder, whatever their classes are: one problem for each cause.

    Found are: masks of another size than their image; masks in a format that changed their values; an orientation that
    an image has and its mask lacks, or the other way round; files of several pages; masks whose alpha channel alone
    varies; images whose alpha channel is no transparency, and images of 16 bits that use a small part of their range
    (from 16 images each). Sizes, orientations and pages are found from the headers.
    """
    finders: tuple[Callable[[Path, Sequence[Pair]], Problem | None], ...] = (
        _lossy,
        _orientation,
        _pages,
        masks_in_alpha,
        bands_in_alpha,
        small_range,
    )
    return [*_sizes(pairs), *(found for find in finders if (found := find(folder, pairs)) is not None)]


def _sizes(pairs: Sequence[Pair]) -> list[Problem]:
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        if pair.image.size != pair.mask.size:
            turned = pair.image.stored_size == pair.mask.stored_size
            key = ("orientation",) if turned else (pair.image.size, pair.mask.size)
            groups.setdefault(key, []).append(pair)
    return [_size_problem(group) for group in groups.values()]


def _size_problem(group: Sequence[Pair]) -> Problem:
    first = group[0]
    image, mask = first.sample.image, first.sample.mask
    sizes = f"{show_size(first.image.size)} and its mask {mask} {show_size(first.mask.size)} (height x width)"
    turned = first.image.stored_size == first.mask.stored_size
    cause = (
        f" once turned as their orientation tags say ({first.image.orientation} and {first.mask.orientation}), and of "
        "one size as stored"
    )
    advice = (
        f"remove the tag where it is wrong, such as with {_remove_tags(image.parent)}"
        if turned
        else "crop or resize one of them"
    )
    others = f"{len(group)} masks have another size than their image; the first: " if len(group) > 1 else ""
    return grouped(
        "size",
        group,
        f"{others}The image {image} is {sizes}{cause if turned else ''}, expected the same size; {advice}.",
    )


def _lossy(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name masks in a format that changes pixel values, so that ids are lost and others invented.

    Values that are far apart, with none between, show that nothing was changed in these.
    """
    group = [pair for pair in pairs if pair.mask.lossy]
    if not group:
        return None
    masks = [pair.sample.mask for pair in group]
    try:
        held = survey_masks(masks).values
        held.refuse_soft(source=str(folder), files=files_like(masks))
        if (np.diff(held.values) >= LEAST_SPAN).all():
            return None
    except SoftMasksError as error:
        return grouped("values", group, str(error))  # says how to bring the classes back
    except DataError:
        pass  # in colour, or named where it is read
    names = " or ".join(sorted({pair.mask.lossy for pair in group}))
    which = f"The mask {masks[0]} is" if len(group) == 1 else f"{len(group)} masks are"
    first = "" if len(group) == 1 else f"; the first is {masks[0]}"
    return grouped(
        "lossy",
        group,
        f"{which} in a lossy format ({names}), which changes pixel values, so that ids are lost and others invented, "
        "expected PNG; write the masks as PNG from what they were made of, converting these files does not bring the "
        f"ids back{first}.",
    )


def _orientation(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name images and masks of which one is turned and the other is not, where their sizes do not show who is right.

    A quarter turn after which the sizes fit, and not before, shows it for all pairs of the folder.
    """
    turned = [pair for pair in pairs if pair.image.orientation != pair.mask.orientation]
    fitting = [pair for pair in turned if pair.image.size == pair.mask.size]
    shown = {pair.mask.orientation == 1 for pair in fitting if pair.image.stored_size != pair.mask.stored_size}
    group = [pair for pair in fitting if (pair.mask.orientation == 1) not in shown]
    if not group:
        return None
    first = group[0]
    tagged = first.sample.mask if first.image.orientation == 1 else first.sample.image
    return grouped(
        "orientation",
        group,
        f"{_which_carry(folder, group)}; {first.sample.image} has {first.image.orientation} and {first.sample.mask} "
        f"{first.mask.orientation}, where 1 is upright. Each file is turned as its own tag says, which is right only "
        "where the masks fit the upright images; compare one pair, and where they do not fit remove the tags: "
        f"{_remove_tags(tagged.parent)}.",
        warning=True,
    )


def _which_carry(folder: Path, group: Sequence[Pair]) -> str:
    """Say which of the images and masks carry an orientation that the others do not."""
    if all(pair.mask.orientation == 1 for pair in group):
        tagged, bare = "image", "masks"
    elif all(pair.image.orientation == 1 for pair in group):
        tagged, bare = "mask", "images"
    else:
        return f"{counted(len(group), 'image')} of {folder} and their masks carry different orientations (EXIF or TIFF)"
    if len(group) == 1:
        return f"1 {tagged} of {folder} carries an orientation (EXIF or TIFF), its {bare[:-1]} does not"
    return f"{counted(len(group), tagged)} of {folder} carry an orientation (EXIF or TIFF), their {bare} do not"


def _pages(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Count the pages that are not read; refuse stacks whose mask has another number of pages."""
    group = [pair for pair in pairs if pair.image.pages > 1 or pair.mask.pages > 1]
    if not group:
        return None
    differing = [pair for pair in group if pair.image.pages != pair.mask.pages]
    images = sum(pair.image.pages - 1 for pair in group)
    masks = sum(pair.mask.pages - 1 for pair in group)
    first = group[0]
    every = [path for pair in group for path in (pair.sample.image, pair.sample.mask)]
    split = (
        'write each page as a file of its own: python -c "import sys, os; from PIL import Image, ImageSequence; '
        "[page.copy().save(f'{os.path.splitext(name)[0]}_{number:03}.png') for name in sys.argv[1:] for number, page "
        f'in enumerate(ImageSequence.Iterator(Image.open(name)))]" {files_like(every)}, '
        f"and move the stacks away"
    )
    if differing:
        first = differing[0]
        return grouped(
            "pages",
            differing,
            f"{counted(len(differing), 'mask')} of {folder} {has_or_have(differing)} another number of pages than the "
            f"image: {first.sample.image} has {first.image.pages} and {first.sample.mask} {first.mask.pages}, expected "
            f"as many; only the first page of each would be read. If the pages are samples, {split}; if they are "
            "classes, merge them into one map of ids.",
        )
    return grouped(
        "pages",
        group,
        f"{counted(len(group), 'file')} of {folder} {has_or_have(group)} several pages, and only the first of each is "
        f"read: {images} pages of images and {masks} of masks are left out; the first is {first.sample.image} "
        f"({first.image.pages} pages). To use them, {split}.",
        warning=True,
    )


def _remove_tags(folder: Path) -> str:
    return f"exiftool -overwrite_original -Orientation= {shlex.quote(str(folder))}"
