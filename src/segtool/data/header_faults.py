"""What the headers of a folder's images and masks show to be wrong: sizes, orientations and pages."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.data.base import show_size
from segtool.data.headers import Header, read_header
from segtool.data.listing import Sample
from segtool.data.problem import Problem, files_like, these
from segtool.text import counted


@dataclass(frozen=True)
class SampleHeaders:
    """A sample with the headers of its two files."""

    sample: Sample
    image: Header
    mask: Header

    @property
    def turned_alike(self) -> bool:
        """Whether image and mask have one size as stored, before their orientations are applied."""
        return self.image.stored_size == self.mask.stored_size


def read_headers(sample: Sample) -> SampleHeaders:
    """Read the headers of a sample's two files; errors are those of `segtool.data.headers.read_header`."""
    return SampleHeaders(sample, read_header(sample.image), read_header(sample.mask))


Headers = Sequence[SampleHeaders]


def group_problem(kind: str, group: Headers, message: str, *, warning: bool = False) -> Problem:
    """Return one problem of several samples."""
    return Problem.of(kind, [one.sample.name for one in group], message, warning=warning)


def have(group: Headers, what: str, folder: Path) -> str:
    """Return the subject and the verb of a sentence on some files: "2 masks of data have"."""
    return f"{counted(len(group), what)} of {folder} {'has' if len(group) == 1 else 'have'}"


def size_problems(samples: Headers) -> list[Problem]:
    """Name masks of another size than their image, those of the same sizes together."""
    groups: dict[object, list[SampleHeaders]] = {}
    for one in samples:
        if one.image.size != one.mask.size:
            groups.setdefault(one.turned_alike or (one.image.size, one.mask.size), []).append(one)
    return [_size_problem(group) for group in groups.values()]


def _size_problem(group: Headers) -> Problem:
    first = group[0]
    image, mask = first.sample.image, first.sample.mask
    cause, advice = "", "crop or resize one of them"
    if first.turned_alike:
        cause = (
            f" once turned as their orientation tags say ({first.image.orientation} and {first.mask.orientation}), and "
            "of one size as stored"
        )
        advice = f"remove the tag where it is wrong, such as with {_remove_tags(image.parent)}"
    return group_problem(
        "size",
        group,
        f"{these('mask', [one.sample.mask for one in group], 'has')} another size than the image: {image} is "
        f"{show_size(first.image.size)} and {mask.name} {show_size(first.mask.size)} (height x width){cause}, expected "
        f"the same size; {advice}.",
    )


def orientation_problem(folder: Path, samples: Headers) -> Problem | None:
    """Name images and masks of which one is turned and the other is not, where their sizes do not show who is right.

    A quarter turn after which the sizes fit, and not before, shows it for all samples of the folder.
    """
    turned = [one for one in samples if one.image.orientation != one.mask.orientation]
    fitting = [one for one in turned if one.image.size == one.mask.size]
    shown = {one.mask.orientation == 1 for one in fitting if not one.turned_alike}
    group = [one for one in fitting if (one.mask.orientation == 1) not in shown]
    if not group:
        return None
    first = group[0]
    tagged = first.sample.mask if first.image.orientation == 1 else first.sample.image
    return group_problem(
        "orientation",
        group,
        f"{_which_carry(folder, group)}; {first.sample.image} has {first.image.orientation} and {first.sample.mask} "
        f"{first.mask.orientation}, where 1 is upright. Each file is turned as its own tag says, which is right only "
        "where the masks fit the upright images; compare one pair, and where they do not fit remove the tags: "
        f"{_remove_tags(tagged.parent)}.",
        warning=True,
    )


def _which_carry(folder: Path, group: Headers) -> str:
    """Say which of the images and masks carry an orientation that the others do not."""
    if all(one.mask.orientation == 1 for one in group):
        tagged, bare = "image", "mask"
    elif all(one.image.orientation == 1 for one in group):
        tagged, bare = "mask", "image"
    else:
        return f"{counted(len(group), 'image')} of {folder} and their masks carry different orientations (EXIF or TIFF)"
    verb, others = ("carries", f"its {bare} does") if len(group) == 1 else ("carry", f"their {bare}s do")
    return f"{counted(len(group), tagged)} of {folder} {verb} an orientation (EXIF or TIFF), {others} not"


def pages_problem(folder: Path, samples: Headers) -> Problem | None:
    """Count the pages that are not read; refuse stacks whose mask has another number of pages."""
    group = [one for one in samples if one.image.pages > 1 or one.mask.pages > 1]
    if not group:
        return None
    every = [path for one in group for path in (one.sample.image, one.sample.mask)]
    split = (
        'write each page as a file of its own: python -c "import sys, os; from PIL import Image, ImageSequence; '
        "[page.copy().save(f'{os.path.splitext(name)[0]}_{number:03}.png') for name in sys.argv[1:] for number, page "
        f'in enumerate(ImageSequence.Iterator(Image.open(name)))]" {files_like(every)}, and move the stacks away'
    )
    if differing := [one for one in group if one.image.pages != one.mask.pages]:
        first = differing[0]
        message = (
            f"{have(differing, 'mask', folder)} another number of pages than the image: {first.sample.image} has "
            f"{first.image.pages} and {first.sample.mask} {first.mask.pages}, expected as many; only the first page of "
            f"each would be read. If the pages are samples, {split}; if they are classes, merge them into one map of "
            "ids."
        )
        return group_problem("pages", differing, message)
    first = group[0]
    left_out = sum(one.image.pages - 1 for one in group)
    message = (
        f"{have(group, 'file', folder)} several pages, and only the first of each is read: {counted(left_out, 'page')} "
        f"of images and {left_out} of masks are left out; the first is {first.sample.image} ({first.image.pages} "
        f"pages). To use them, {split}."
    )
    return group_problem("pages", group, message, warning=True)


def _remove_tags(folder: Path) -> str:
    return f"exiftool -overwrite_original -Orientation= {shlex.quote(str(folder))}"
