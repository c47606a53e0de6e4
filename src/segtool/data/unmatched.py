"""Messages for images without a mask and masks without an image: one sentence for each cause."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from segtool.data.layout import Place
from segtool.data.pairing import Pairs
from segtool.data.problem import Problem
from segtool.text import counted, some

Named = Mapping[str, Path]
"""The file of each name: a path below a folder, without suffix."""


def unmatched(images: Named, masks: Named, pairs: Pairs, place: Place) -> list[Problem]:
    """Return what is wrong where images and masks of a part have no counterpart."""
    taken = set(pairs.masks.values())
    several = {image for image in pairs.further.values() if image not in pairs.masks}
    further = [mask for mask, image in pairs.further.items() if image in pairs.masks]
    elsewhere = pairs.elsewhere
    lone_images = [name for name in images if name not in pairs.masks and name not in several | elsewhere.keys()]
    lone_masks = [name for name in masks if name not in taken | pairs.further.keys() and name not in elsewhere.values()]
    found = [_further(further, masks, images, pairs), _several(several, images, masks, pairs)]
    found.append(_elsewhere(images, masks, elsewhere))
    if not pairs.masks and len(lone_images) == len(images) > 1 and len(lone_masks) == len(masks) > 1:
        return [*filter(None, found), _none_fits(images, masks, place)]
    if shifted := _shifted(images, masks, lone_images, lone_masks):
        return [*filter(None, found), shifted]
    found.append(_alone([images[name] for name in lone_images], lone_images, "image", "mask", place.masks))
    found.append(_alone([masks[name] for name in lone_masks], lone_masks, "mask", "image", place.images))
    return [problem for problem in found if problem is not None]


def _alone(files: Sequence[Path], names: Sequence[str], what: str, other: str, folder: Path) -> Problem | None:
    if not files:
        return None
    where = "" if folder == files[0].parent else f" in {folder}"
    if len(files) == 1:
        message = f"{files[0]} has no {other} of the same name{where}; add it or remove the {what}."
        return Problem("missing", names[0], message)
    message = (
        f"{len(files)} {what}s have no {other} of the same name{where}: {some(files)}; add them or remove the {what}s."
    )
    return Problem("missing", names[0], message, tuple(names))


def _none_fits(images: Named, masks: Named, place: Place) -> Problem:
    message = (
        f"None of {len(images)} images in {place.images} ({some([*images.values()])}) has a mask in {place.masks} "
        f"({some([*masks.values()])}), expected names that differ in a word of all images or masks at most, such as "
        "0001.jpg and 0001_mask.png; rename the files of one folder."
    )
    return Problem("missing", next(iter(images)), message, tuple(images))


def _shifted(images: Named, masks: Named, lone_images: Sequence[str], lone_masks: Sequence[str]) -> Problem | None:
    """Return that the numbers of masks begin elsewhere, where the first images and the last masks are left, or so.

    The pairs between may then all be wrong.
    """
    first, last = _numbers(images), _numbers(masks)
    shift = len(lone_images)
    if not shift or shift != len(lone_masks) or len(first) != len(last) or 2 * shift > len(first):
        return None
    by = 1 if first[:1] < last[:1] else -1
    if [number + by * shift for number in first] != last or first != list(range(first[0], first[0] + len(first))):
        return None
    return Problem(
        "missing",
        lone_images[0],
        f"The images are numbered {first[0]} to {first[-1]} and the masks {last[0]} to {last[-1]}, expected the same "
        f"numbers; rename the masks so that each has the number of its image ({images[min(lone_images)].name} and "
        f"{masks[max(lone_masks)].name} are left, and the pairs between may be off by {shift}).",
        (*lone_images, *lone_masks),
    )


def _numbers(files: Named) -> list[int]:
    """Return the last number in each name, sorted; empty where a name has none or two have the same."""
    found = [re.findall(r"\d+", name) for name in files]
    numbers = sorted(int(one[-1]) for one in found if one)
    return numbers if len(numbers) == len(files) == len(set(numbers)) else []


def _further(further: Sequence[str], masks: Named, images: Named, pairs: Pairs) -> Problem | None:
    """Return the masks that are one more of an image: only one is read."""
    if not further:
        return None
    first = further[0]
    image = pairs.further[first]
    which = (
        f"The mask {masks[first]} is a further mask of {images[image].name}, which has {masks[pairs.masks[image]].name}"
        if len(further) == 1
        else f"{len(further)} masks are further masks of images that have one: {some([masks[one] for one in further])}"
    )
    advice = (
        "keep one kind of masks in the folder and put the others elsewhere"
        if 2 * len(further) > len(pairs.masks)
        else f"draw both into one file, or remove the further {'one' if len(further) == 1 else 'ones'}"
    )
    return Problem(
        "ambiguous",
        first,
        f"{which}, expected one mask for each image; {advice}.",
        tuple(further) if len(further) > 1 else (),
    )


def _several(several: set[str], images: Named, masks: Named, pairs: Pairs) -> Problem | None:
    """Return the images that have several masks, none of which is called as the image more than the others."""
    names = [name for name in images if name in several]
    if not names:
        return None
    first = [masks[mask] for mask, image in pairs.further.items() if image == names[0]]
    have = f"The image {images[names[0]]} has" if len(names) == 1 else f"{len(names)} images have"
    return Problem(
        "ambiguous",
        names[0],
        f"{have} several masks each ({images[names[0]].name}: {some(first)}), expected one mask for each image; keep "
        "one kind of masks in the folder and put the others elsewhere.",
        tuple(names) if len(names) > 1 else (),
    )


def _elsewhere(images: Named, masks: Named, elsewhere: Mapping[str, str]) -> Problem | None:
    if not elsewhere:
        return None
    image, mask = next(iter(elsewhere.items()))
    which = f"{counted(len(elsewhere), 'image')} {'has its' if len(elsewhere) == 1 else 'have their'} mask"
    return Problem(
        "missing",
        image,
        f"{which} in another sub-folder ({images[image]}, {masks[mask]}), expected the same sub-folders for images and "
        "masks; move them.",
        tuple(elsewhere) if len(elsewhere) > 1 else (),
    )
