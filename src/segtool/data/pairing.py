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
_MOST = (
    0.5  # of the files of a kind: a word that more of them have, and hardly a file of the other kind, names the kind
)
_FEW = 0.1


@dataclass(frozen=True)
class Pairs:
    """What belongs together.

    Attributes
    ----------
    masks
        The name of the mask of each image that has one, in the order of the images.
    further
        The image of each mask that is left and is called as that image with words behind: x_mask_1. The image has a
        mask already, or has several such.
    elsewhere
        The mask of the same name in another sub-folder, for each image without a mask that has such.
    """

    masks: Mapping[str, str]
    further: Mapping[str, str]
    elsewhere: Mapping[str, str]


def pair(images: Sequence[str], masks: Sequence[str]) -> Pairs:
    """Match the names of images with those of masks: paths below their folders, without suffix, each once."""
    exact = set(masks)
    found = {name: name for name in images if name in exact}
    if len(found) == len(images) == len(masks):
        return Pairs(found, {}, {})
    kinds = _kind_words(images, masks)
    for loosely in (_strict, _less_strict, _loose):
        found |= _alike(*_left(images, masks, found), partial(loosely, kinds=kinds))
    elsewhere = _alike(*_left(images, masks, found), lambda name: _loose(name.rpartition("/")[2], kinds))
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
    by_key, of_masks = _by_key(images, key), _by_key(masks, key)
    return {
        same[0]: of_masks[shared][0]
        for shared, same in by_key.items()
        if len(same) == 1 and len(of_masks.get(shared, ())) == 1
    }


def _by_key(names: Iterable[str], key: Callable[[str], Words]) -> dict[Words, list[str]]:
    found: dict[Words, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return found


def _further(images: Sequence[str], left: Sequence[str], kinds: frozenset[str]) -> dict[str, str]:
    """Return the image of each mask that is left and is called as it, with words behind."""
    whose = {_loose(image, kinds): image for image in images}
    further = {}
    for mask in left:
        words = _loose(mask, kinds)
        longest = (whose.get(words[:length]) for length in range(len(words), 0, -1))
        if image := next((image for image in longest if image is not None), None):
            further[mask] = image
    return further


def _only_ones(further: Mapping[str, str], found: Mapping[str, str], kinds: frozenset[str]) -> dict[str, str]:
    """Return the masks with words behind, and no number, that are the only one of an image without a mask."""
    number = Counter(further.values())
    return {
        image: mask
        for mask, image in further.items()
        if image not in found and number[image] == 1 and not _behind(mask, image, kinds).isdigit()
    }


def _behind(mask: str, image: str, kinds: frozenset[str]) -> str:
    """Return the first word of a mask's name behind those of its image; empty where there is none."""
    return "".join(_loose(mask, kinds)[len(_loose(image, kinds)) :][:1])


def _strict(name: str, kinds: frozenset[str]) -> Words:
    """Return the words of a name that say which file it is."""
    return _without(_words(name), kinds)


def _less_strict(name: str, kinds: frozenset[str]) -> Words:
    """Return them in small letters, numbers without the zeros before them."""
    return tuple(_plain(word) for word in _strict(name, kinds))


def _loose(name: str, kinds: frozenset[str]) -> Words:
    """Return them with letters and digits apart: img001 is 1."""
    runs = [_plain(run) for word in _strict(name, kinds) for run in (_RUNS.findall(word) or [word])]
    return _without(tuple(runs), kinds)


def _kind_words(images: Sequence[str], masks: Sequence[str]) -> frozenset[str]:
    """Return the words, in small letters, that say whether a file is an image or a mask, and not which of them."""
    found = set(_KIND_WORDS)
    counts = [Counter(word for name in names for word in {*_forms(name)}) for names in (images, masks)]
    for (own, names), (other, others) in (
        ((counts[0], images), (counts[1], masks)),
        ((counts[1], masks), (counts[0], images)),
    ):
        for word, number in own.items():
            most = number > 1 and number > _MOST * len(names)
            if most and other[word] < _FEW * len(others) and not word.isdigit():
                found.add(word)
    return frozenset(found)


def _forms(name: str) -> Iterable[str]:
    """Yield the words of a name, whole and with letters and digits apart, in small letters."""
    for word in _words(name):
        yield word.casefold()
        yield from _RUNS.findall(word.casefold())


def _without(words: Words, kinds: frozenset[str]) -> Words:
    return tuple(word for word in words if word.casefold() not in kinds)


def _words(name: str) -> Words:
    """Return the words of a name between its signs, with its folders; without an image suffix: 0001.jpg is 0001."""
    *folders, file = (name if name.isascii() else unicodedata.normalize("NFC", name)).split("/")
    stem, dot, suffix = file.rpartition(".")
    while stem and f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES:
        file = stem
        stem, dot, suffix = file.rpartition(".")
    above = [word for folder in folders for word in (*_SIGNS.split(folder), "/")]
    return tuple(word for word in (*above, *_SIGNS.split(file)) if word)


def _plain(word: str) -> str:
    return word.lstrip("0") or "0" if word.isdigit() else word.casefold()
