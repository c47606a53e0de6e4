"""What is wrong with how the images and masks of a folder hold their pixels; every command finds it here."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtool.data.base import show_size
from segtool.data.headers import Header, read_header
from segtool.data.listing import Sample
from segtool.data.problem import Problem
from segtool.data.wording import counted
from segtool.errors import DataError
from segtool.runtime.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.runtime.image_io import read_mask_pixels

_MOST_LOOKED_AT = 16
"""Images of 16 bits that are decoded to find the range that they use, spread evenly over the data set."""
_SENSOR_BITS = (8, 10, 12, 14)
"""Bits of cameras and scanners that write 16-bit files; images that use no more than the most of these are named."""


@dataclass(frozen=True)
class Pair:
    """A sample with the headers of its two files."""

    sample: Sample
    image: Header
    mask: Header


def read_pair(sample: Sample) -> Pair:
    """Read the headers of a sample's two files.

    Raises
    ------
    DataError
        One of them is missing, empty or no image.
    """
    return Pair(sample, read_header(sample.image), read_header(sample.mask))


def size_problems(pairs: Sequence[Pair]) -> list[Problem]:
    """Return what is wrong where masks have another size than their image: one problem for each cause."""
    groups: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        if pair.image.size != pair.mask.size:
            turned = pair.image.stored_size == pair.mask.stored_size
            key = ("orientation",) if turned else (pair.image.size, pair.mask.size)
            groups.setdefault(key, []).append(pair)
    return [_size_problem(group) for group in groups.values()]


def pixel_problems(folder: Path, pairs: Sequence[Pair]) -> list[Problem]:
    """Return what else is wrong with the pixels of a folder's files, one problem for each cause.

    Found are: an orientation that an image has and its mask lacks, or the other way round; files of several pages;
    images of 16 bits that use a small part of their range (from 16 of them); masks whose alpha channel alone varies
    (from masks that have one). All but these are found from the headers.
    """
    finders: tuple[Callable[[Path, Sequence[Pair]], Problem | None], ...] = (_orientation, _pages, _alpha, _range)
    return [found for find in finders if (found := find(folder, pairs)) is not None]


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
    return _problem(
        "size",
        group,
        f"{others}The image {image} is {sizes}{cause if turned else ''}, expected the same size; {advice}.",
    )


def _orientation(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name images and masks of which one is turned and the other is not, where their sizes do not show who is right."""
    group = [
        pair
        for pair in pairs
        if pair.image.orientation != pair.mask.orientation
        and pair.image.size == pair.mask.size
        and pair.image.stored_size == pair.mask.stored_size
    ]
    if not group:
        return None
    first = group[0]
    tagged = first.sample.mask if first.image.orientation == 1 else first.sample.image
    return _problem(
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
    split = (
        'write each page as a file of its own: python -c "import sys, os; from PIL import Image, ImageSequence; '
        "[page.copy().save(f'{os.path.splitext(name)[0]}_{number:03}.png') for name in sys.argv[1:] for number, page "
        f'in enumerate(ImageSequence.Iterator(Image.open(name)))]" {files_like(first.sample.image)} '
        f"{files_like(first.sample.mask)}, and move the stacks away"
    )
    if differing:
        first = differing[0]
        return _problem(
            "pages",
            differing,
            f"{counted(len(differing), 'mask')} of {folder} {_has(differing)} another number of pages than the image: "
            f"{first.sample.image} has {first.image.pages} and {first.sample.mask} {first.mask.pages}, expected as "
            f"many; only the first page of each would be read. If the pages are samples, {split}; if they are classes, "
            "merge them into one map of ids.",
        )
    return _problem(
        "pages",
        group,
        f"{counted(len(group), 'file')} of {folder} {_has(group)} several pages, and only the first of each is read: "
        f"{images} pages of images and {masks} of masks are left out; the first is {first.sample.image} "
        f"({first.image.pages} pages). To use them, {split}.",
        warning=True,
    )


def _alpha(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name masks whose colour is the same everywhere, so that their classes can only be in the alpha channel."""
    group: list[Pair] = []
    for pair in pairs:
        if not pair.mask.alpha:
            continue
        try:
            mask = read_mask_pixels(pair.sample.mask)
        except DataError:
            continue  # named where the mask is read
        if np.ptp(mask.values.reshape(mask.values.shape[0] * mask.values.shape[1], -1), axis=0).any():
            return None
        if mask.alpha is not None and np.ptp(mask.alpha):
            group.append(pair)
    if not group:
        return None
    first = group[0].sample.mask
    return _problem(
        "alpha",
        group,
        f"{counted(len(group), 'mask')} of {folder} {_has(group)} one colour everywhere and differ only in the alpha "
        f"channel, which is not read; the first is {first}; expected the classes as values or colours. Write the alpha "
        'channel as the mask (keep a copy): python -c "import sys; from PIL import Image; '
        f"[Image.open(name).getchannel('A').save(name) for name in sys.argv[1:]]\" {files_like(first)}.",
    )


def _range(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name images of 16 bits whose largest value is far from 65535, as those of 10, 12 and 14 bits are."""
    wide = [pair for pair in pairs if pair.image.wide]
    if not wide:
        return None
    looked_at = [wide[index] for index in np.unique(np.linspace(0, len(wide) - 1, _MOST_LOOKED_AT).astype(int))]
    largest = max(_largest_value(pair.sample.image) for pair in looked_at)
    bits = next((bits for bits in _SENSOR_BITS if largest < 1 << bits), None)
    if bits is None:
        return None
    first, top = wide[0].sample.image, (1 << bits) - 1
    share = 100 * top / 65535
    return _problem(
        "range",
        wide,
        f"The 16-bit images of {folder} use {share:.{share < 1:d}f} % of their range: the largest value in "
        f"{counted(len(looked_at), 'image')} of {len(wide)} is {largest}, as in data of {bits} bits (0..{top}), "
        f"expected values up to 65535; the network would see {largest // 257 + 1} of 256 levels. Scale the files (keep "
        'a copy), and those that are predicted later, by the same factor: python -c "import sys, numpy as np; from '
        "PIL import Image; [Image.fromarray((np.array(Image.open(name)).astype('u4') * 65535 // "
        f"{top}).clip(0, 65535).astype('u2')).save(name) for name in sys.argv[1:]]\" {files_like(first)}.",
        warning=True,
    )


def _largest_value(path: Path) -> int:
    """Return the largest pixel value of an image of 16 bits; the largest there is where it cannot be read."""
    try:
        with opened(path) as stream, decoding(str(path)):
            image = open_checked(stream, str(path), MAX_PIXELS)
            array = np.array(image)
    except DataError:
        return 65535  # named where the image is read
    # Of 16-bit colour Pillow gives the upper 8 bits.
    return int(array.max()) * 257 if array.dtype == np.uint8 else int(array.max())


def _problem(kind: str, group: Sequence[Pair], message: str, *, warning: bool = False) -> Problem:
    names = tuple(pair.sample.name for pair in group)
    return Problem(kind, names[0], message, names if len(names) > 1 else (), warning)


def _remove_tags(folder: Path) -> str:
    return f"exiftool -overwrite_original -Orientation= {shlex.quote(str(folder))}"


def files_like(path: Path) -> str:
    """Return a pattern for a shell: the files beside `path` of its suffix."""
    return f"{shlex.quote(str(path.parent))}/*{path.suffix}"


def _has(group: Sequence[Pair]) -> str:
    return "has" if len(group) == 1 else "have"
