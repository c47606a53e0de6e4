"""Which mask is whose: names are compared more and more loosely, and each pair that is certain stands.

An odd file can so break its own pair alone. What all names of a kind have in common (img_, _leftImg8bit, _L) and what
says no more than which of the two a file is (mask, label) is no part of a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from segtool.images.decoding import IMAGE_SUFFIXES

Words = tuple[str, ...]
_SIGNS = re.compile(r"[\s_.()\[\],+-]+")
_RUNS = re.compile(r"\d+|[^\W\d]+")
_KIND_WORDS = (
    *("img", "image", "images", "imgs", "im", "photo", "picture", "rgb", "leftimg8bit"),
    *("mask", "masks", "label", "labels", "lbl", "gt", "groundtruth", "target", "annotation", "annotations", "annot"),
    *("seg", "segm", "segmentation", "segmentations", "gtfine", "gtcoarse", "labelids", "labeltrainids"),
)
_MOST = 0.5  # of the files of a kind: a word that more of them have names the kind
_FEW = 0.1  # of the files of the other kind: such a word is in hardly any of them


@dataclass(frozen=True)
class Pairs:
    """What belongs together, by name."""

    masks: Mapping[str, str]  # the mask of each image that has one, in the order of the images
    further: Mapping[str, str]  # the image of each mask left that is called as it with words behind: x_mask_1
    elsewhere: Mapping[str, str]  # the mask in another sub-folder of each image without a mask


def pair(images: Sequence[str], masks: Sequence[str]) -> Pairs:
    """Match the names of images with those of masks: paths below their folders, without suffix, each once."""
    exact = set(masks)
    found = {name: name for name in images if name in exact}
    if len(found) == len(images) == len(masks):
        return Pairs(found, {}, {})
    kinds = _kind_words(images, masks)
    for looseness in range(3):
        found |= _alike(*_left(images, masks, found), partial(_key, kinds=kinds, looseness=looseness))
    elsewhere = _alike(*_left(images, masks, found), lambda name: _key(name.rpartition("/")[2], kinds))
    if len(elsewhere) > _MOST * min(len(images), len(masks)):  # the sub-folders have other names, not an odd file
        found, elsewhere = found | elsewhere, {}
    further = _further(images, _left(images, masks, found)[1], kinds)
    found |= _only_ones(further, found, kinds)
    return Pairs(
        {name: found[name] for name in images if name in found},
        {mask: image for mask, image in further.items() if found.get(image) != mask},
        {image: mask for image, mask in elsewhere.items() if image not in found and mask not in further},
    )


def _left(images: Sequence[str], masks: Sequence[str], found: Mapping[str, str]) -> tuple[list[str], list[str]]:
    taken = set(found.values())
    return [name for name in images if name not in found], [name for name in masks if name not in taken]


def _alike(images: Iterable[str], masks: Iterable[str], key: Callable[[str], Words]) -> dict[str, str]:
    """Return the pairs whose keys are the same, and no other's."""
    by_key: dict[Words, tuple[list[str], list[str]]] = {}
    for side, names in enumerate((images, masks)):
        for name in names:
            by_key.setdefault(key(name), ([], []))[side].append(name)
    return {ours[0]: theirs[0] for ours, theirs in by_key.values() if len(ours) == len(theirs) == 1}


def _further(images: Sequence[str], left: Sequence[str], kinds: frozenset[str]) -> dict[str, str]:
    """Return the image of each mask that is left and is called as it, with words behind."""
    whose = {_key(image, kinds): image for image in images}
    further = {}
    for mask in left:
        words = _key(mask, kinds)
        longest = (whose.get(words[:length]) for length in range(len(words), 0, -1))
        if image := next((image for image in longest if image is not None), None):
            further[mask] = image
    return further


def _only_ones(further: Mapping[str, str], found: Mapping[str, str], kinds: frozenset[str]) -> dict[str, str]:
    """Return the masks with words behind, of which the first is no number, that are the only one of their image."""
    number = Counter(further.values())
    return {
        image: mask
        for mask, image in further.items()
        if image not in found
        and number[image] == 1
        and not "".join(_key(mask, kinds)[len(_key(image, kinds)) :][:1]).isdigit()
    }


def _key(name: str, kinds: frozenset[str], looseness: int = 2) -> Words:
    """Return the words of a name that say which file it is.

    With a looseness of 1 in small letters, numbers without the zeros before them; of 2 also with letters and digits
    apart: img001 is 1.
    """
    words = [word for word in _words(name) if word.casefold() not in kinds]
    if looseness == 2:
        words = [run for word in words for run in _RUNS.findall(word) or [word]]
    if looseness:
        words = [word.lstrip("0") or "0" if word.isdigit() else word.casefold() for word in words]
    return tuple(word for word in words if word.casefold() not in kinds)


def _kind_words(images: Sequence[str], masks: Sequence[str]) -> frozenset[str]:
    """Return the words, in small letters, that say whether a file is an image or a mask, and not which of them."""
    in_images, in_masks = (Counter(word for name in names for word in _forms(name)) for names in (images, masks))
    sides = (in_images, len(images), in_masks, len(masks)), (in_masks, len(masks), in_images, len(images))
    return frozenset(_KIND_WORDS).union(
        word
        for own, count, other, others in sides
        for word, number in own.items()
        if number > max(1, _MOST * count) and other[word] < _FEW * others and not word.isdigit()
    )


def _forms(name: str) -> set[str]:
    """Return the words of a name, whole and with letters and digits apart, in small letters."""
    words = {word.casefold() for word in _words(name)}
    return words.union(*map(_RUNS.findall, words))


def _words(name: str) -> Words:
    """Return the words of a name between its signs, with its folders; without an image suffix: 0001.jpg is 0001."""
    *folders, file = (name if name.isascii() else unicodedata.normalize("NFC", name)).split("/")
    stem, dot, suffix = file.rpartition(".")
    while stem and f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES:
        file = stem
        stem, dot, suffix = file.rpartition(".")
    above = [word for folder in folders for word in (*_SIGNS.split(folder), "/")]
    return tuple(word for word in (*above, *_SIGNS.split(file)) if word)
