"""Images without a mask, masks without an image, and folders that are not read: one message for each cause."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from segtool.data.layout import (
    IMAGES,
    MASKS,
    WEAK,
    Place,
    folders_in,
    image_files,
    part_of,
    pool_in,
    role_of,
    spelling_of,
)
from segtool.data.pairing import Pairs
from segtool.data.problem import Problem, these
from segtool.text import some

Named = Mapping[str, Path]
"""The file of each name: a path below a folder, without suffix."""
_MOST_FOLDERS = 50  # of a wrong folder, in which images are looked for


def unmatched(images: Named, masks: Named, pairs: Pairs, place: Place) -> list[Problem]:
    """Return what is wrong where images and masks of a part have no counterpart."""
    by_class = _by_class(images, masks, pairs.masks)
    matched = {*pairs.masks, *pairs.further.values(), *pairs.elsewhere, *by_class}
    lone_images = [name for name in images if name not in matched]
    matched = {*pairs.masks.values(), *pairs.further, *pairs.elsewhere.values(), *chain(*by_class.values())}
    lone_masks = [name for name in masks if name not in matched]
    found = []
    if pairs.further:
        found.append(_several(images, masks, pairs))
    if by_class:
        found.append(_one_a_class(images, masks, by_class, place))
    if pairs.elsewhere and not by_class:
        found.append(_elsewhere(images, masks, pairs.elsewhere))
    if not pairs.masks and len(lone_images) == len(images) > 1 and len(lone_masks) == len(masks) > 1:
        return [*found, _none_fits(images, masks, place)]
    if shifted := _shifted(images, masks, lone_images, lone_masks):
        return [*found, shifted]
    if lone_images:
        found.append(_alone(lone_images, images, "image", "mask", place.masks))
    if lone_masks:
        found.append(_alone(lone_masks, masks, "mask", "image", place.images))
    return found


def _alone(names: Sequence[str], files: Named, what: str, other: str, folder: Path) -> Problem:
    paths = [files[name] for name in names]
    where = "" if folder == paths[0].parent else f" in {folder}{_no_images(folder)}"
    message = f"{these(what, paths, 'has')} no {other} of the same name{where}; add the {other} or remove the {what}."
    return Problem.of("missing", names, message)


def _no_images(folder: Path) -> str:
    """Return what a folder holds in place of image files."""
    if not folder.is_dir():
        return ", which does not exist"
    others = sorted(path for path in folder.rglob("*") if path.is_file())
    if not others or next(image_files(folder), None):
        return ""
    return f", which holds no image files but {some(others)}"


def _none_fits(images: Named, masks: Named, place: Place) -> Problem:
    message = (
        f"None of {len(images)} images in {place.images} ({some([*images.values()])}) has a mask in {place.masks} "
        f"({some([*masks.values()])}), expected names that differ in a word of all images or masks at most, such as "
        "0001.jpg and 0001_mask.png; rename the files of one folder."
    )
    return Problem.of("missing", list(images), message)


def _shifted(images: Named, masks: Named, lone_images: Sequence[str], lone_masks: Sequence[str]) -> Problem | None:
    """Return that the numbers of masks begin elsewhere, if as many images are left at one end as masks at the other.

    The pairs between may then all be wrong.
    """
    first, last = _numbers(images), _numbers(masks)
    shift = len(lone_images)
    if not shift or shift != len(lone_masks) or len(first) != len(last) or 2 * shift > len(first):
        return None
    by = 1 if first[:1] < last[:1] else -1
    if [number + by * shift for number in first] != last or first != list(range(first[0], first[0] + len(first))):
        return None
    return Problem.of(
        "missing",
        [*lone_images, *lone_masks],
        f"The images are numbered {first[0]} to {first[-1]} and the masks {last[0]} to {last[-1]}, expected the same "
        f"numbers; rename the masks so that each has the number of its image ({images[min(lone_images)].name} and "
        f"{masks[max(lone_masks)].name} are left, and the pairs between may be off by {shift}).",
    )


def _numbers(files: Named) -> list[int]:
    """Return the last number in each name, sorted; empty where a name has none or two have the same."""
    found = [re.findall(r"\d+", name) for name in files]
    numbers = sorted(int(one[-1]) for one in found if one)
    return numbers if len(numbers) == len(files) == len(set(numbers)) else []


def _several(images: Named, masks: Named, pairs: Pairs) -> Problem:
    """Return the images that have several masks, of which only one is read."""
    names = list(dict.fromkeys(pairs.further.values()))
    first = names[0]
    further = [masks[mask] for mask, image in pairs.further.items() if image == first]
    if len(pairs.further) == 1 and first in pairs.masks:
        return Problem.of(
            "ambiguous",
            list(pairs.further),
            f"The mask {further[0]} is a further mask of {images[first].name}, which has "
            f"{masks[pairs.masks[first]].name}, expected one mask for each image; draw both into one file, or remove "
            "the further one.",
        )
    own = [masks[pairs.masks[first]]] if first in pairs.masks else []
    return Problem.of(
        "ambiguous",
        names,
        f"{these('image', [images[name] for name in names], 'has')} several masks ({images[first].name}: "
        f"{some([*own, *further])}), expected one mask for each image; keep one kind of masks in the folder and put "
        "the others elsewhere, or draw those of an image into one file.",
    )


def _elsewhere(images: Named, masks: Named, elsewhere: Mapping[str, str]) -> Problem:
    return Problem.of(
        "missing",
        list(elsewhere),
        f"{these('image', [images[name] for name in elsewhere], 'has')} a mask in another sub-folder "
        f"({masks[next(iter(elsewhere.values()))]}), expected the same sub-folders for images and masks; move it.",
    )


def _by_class(images: Named, masks: Named, paired: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the masks of each image in sub-folders, if some image has one of its name in several: car/1, road/1."""
    named: dict[str, list[str]] = {}
    for mask in masks:
        folder, _, name = mask.rpartition("/")
        if folder and name in images and paired.get(name) != name:
            named.setdefault(name, []).append(mask)
    return named if any(len(found) > 1 for found in named.values()) else {}


def _one_a_class(images: Named, masks: Named, by_class: Mapping[str, Sequence[str]], place: Place) -> Problem:
    folders = sorted({mask.rpartition("/")[0] for found in by_class.values() for mask in found})
    first = next(iter(by_class))
    shown = some([masks[mask].relative_to(place.masks).as_posix() for mask in by_class[first]])
    arguments = " ".join(map(shlex.quote, [str(place.masks), *folders]))
    return Problem.of(
        "ambiguous",
        list(by_class),
        f"{these('image', [images[name] for name in by_class], 'has')} masks of the same name in several sub-folders "
        f"of {place.masks} ({images[first].name}: {shown}), as if there were one for each class, "
        "expected one mask for each image, whose values are the classes. This writes them, with the value 1 for the "
        'first sub-folder, 2 for the second, ...; then move the sub-folders away: python -c "import glob, os, sys, '
        "numpy as np; from PIL import Image; top, *classes = sys.argv[1:]; [Image.fromarray(np.max([np.uint8(index) * "
        "(np.array(Image.open(path).convert('L')) > 0) for index, name in enumerate(classes, 1) for path in "
        "glob.glob(f'{top}/{name}/{stem}.*')], axis=0)).save(f'{top}/{stem}.png') for stem in "
        "{os.path.splitext(os.path.basename(path))[0] for name in classes for path in glob.glob(f'{top}/{name}/*.*')}]"
        f'" {arguments}.',
    )


def not_read(folder: Path, places: Sequence[Place]) -> list[Problem]:
    """Return a warning on folders that are called as parts, images or masks, or hold both, and are not read."""
    read = {path for place in places for path in (place.images, place.masks)}
    above = {folder, *(path.parent for path in read if folder in path.parents)}
    left_out = [
        f"{entry.relative_to(folder)}/"
        for base in sorted(above)
        for entry in folders_in(base)
        if not any(entry.is_relative_to(path) or path.is_relative_to(entry) for path in read)
        and (part_of(entry.name) or (role_of(entry.name) and entry.name.casefold() not in WEAK) or pool_in(entry))
        and next(image_files(entry), None)
    ]
    if not left_out:
        return []
    pairs = list(dict.fromkeys((place.images, place.masks) for place in places))
    shown = [f"{images.relative_to(folder)}/ with {masks.relative_to(folder)}/" for images, masks in pairs]
    message = (
        f"{folder} has folders with images that are not read: {some(left_out)}; read are {some(shown)}. Where they "
        "belong to the data set, put all parts into one arrangement, such as train/images/ and val/images/; where "
        "others are right, move these elsewhere."
    )
    return [Problem("unread", str(folder), message, warning=True)]


def spelled_twice(places: Sequence[Place]) -> list[Problem]:
    """Return the folders that are the same part as others."""
    parts = [(place.part, place.above) for place in places]
    return [
        Problem(
            "ambiguous",
            str(place.images),
            f"{places[parts.index((place.part, place.above))].images} and {place.images} are both the part "
            f"{place.part!r}, expected one; merge or remove one of them.",
        )
        for index, place in enumerate(places)
        if (place.part, place.above) in parts[:index] and place.names is None
    ]


def unknown_folders(place: Place) -> Problem | None:
    """Return that the images or the masks may be in a folder of another name, where one of the two is not there."""
    lacking = next((at for at in (place.images, place.masks) if not at.is_dir()), None)
    if lacking is None or not (sentence := renaming(lacking.parent)):
        return None
    return Problem("missing", str(lacking.parent), sentence)


def renaming(folder: Path) -> str:
    """Return which folders with images there are, and which are to be renamed; empty where all names are known."""
    entries = [entry for entry in folders_in(folder)[:_MOST_FOLDERS] if next(image_files(entry), None)]
    unknown = [f"{entry.name}/" for entry in entries if not role_of(entry.name) and not spelling_of(entry.name)[0]]
    known = {role: f"{entry.name}/" for entry in entries if (role := role_of(entry.name))}
    if not unknown or len(known) == 2:
        return ""
    held = "".join(f"{name} holds {role}, and " for role, name in known.items())
    lacking = {role: names for role, names in (("images", IMAGES), ("masks", MASKS)) if role not in known}
    advice = " and ".join(f"that of the {role} to {role}/" for role in lacking)
    names = "; ".join(f"{role}: {', '.join(called)}" for role, called in lacking.items())
    return (
        f"In {folder} {held}the names of these folders with images are not known: {some(unknown)}; rename {advice} "
        f"(in use are, in any case and with any signs between words, for {names})."
    )
