"""Where the images and masks of a folder are: which of the arrangements in use it has.

=============================================  ================================================================
images/ and masks/                             one pool, to be split
train/images/ and train/masks/, val/...        parts
images/train/ and masks/train/, ...            parts; Cityscapes' leftImg8bit/ and gtFine/
train/ and trainannot/, train_images/, ...     parts; SegNet's CamVid, or train_labels/, masks_train/
JPEGImages/, SegmentationClass/, ImageSets/    Pascal VOC and what CVAT writes: parts by their lists of names
701_StillsRaw_full/ and LabeledApproved_full/  one pool, as CamVid is published
scene1/, scene2/, ... with images/ and masks/  one pool, where the names of the folders differ in a number alone
0001.jpg and 0001_mask.png in one folder       one pool, or parts in train/, valid/, ...; Roboflow's masks
=============================================  ================================================================

Folders go by several names (`IMAGES`, `MASKS`), in any case; val/ may be valid/ or validation/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from segtool.data.base import PARTS
from segtool.data.pairing import pair
from segtool.images.decoding import IMAGE_SUFFIXES

IMAGES = (
    "images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "pictures", "photos", "frames", "inputs", "rgb",
    "input", "originalimages", "originals", "original", "701stillsrawfull",
)  # fmt: skip
MASKS = (
    "1stmanual", "masks", "mask", "masksmachine", "labels", "label",
    "segmentationclass", "segmentationclassaug", "gtfine",
    "annotations", "annotation", "annots", "annot", "segmentations", "segmentation", "segmaps", "groundtruths",
    "groundtruth", "gts", "gt", "targets", "target", "trimaps", "segs", "seg", "semantic",
    "labelimages", "labeledapprovedfull", "outputs", "output",
)  # fmt: skip
"""What folders are called, in the order in which they are looked for: in small letters, without signs between them."""

_PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_HIDDEN = (".", "__MACOSX")
_MASK_BESIDE = re.compile(r"(?i)(^|[/ ._-])(masks?|labels?|seg|segmentation|gt|annotation)([ ._-]?\d+)?$")
WEAK = ("inputs", "input", "originals", "original", "outputs", "output")
"""Names that say nothing of a folder if the other of the two is missing."""
_ALONE = {*IMAGES[:6], *MASKS[:14]}  # names that are clear even if the other of the two is missing


@dataclass(frozen=True)
class Place:
    """The two folders of a part."""

    part: str  # "train", "val" or "test"; empty for one pool
    images: Path  # may not exist, like masks; the same as masks where these stand beside their images
    masks: Path
    names: Path | None = None  # a file that lists the samples of this part by name, one a line
    partial: bool = False  # whether images without a mask are usual there, and left out
    above: str = ""  # the folder that holds both, where several are one pool; begins the names of samples


def find_places(folder: Path) -> list[Place]:
    """Return where the images and masks of a folder are; empty where it has none of the arrangements."""
    pool = pool_in(folder)
    if pool is not None:
        return _listed(folder, pool) or _parts_below(pool) or [pool]
    found = [place for part, names in _named_parts(folder).items() for place in _places_of(folder, part, names)]
    if any(place.masks.is_dir() or role_of(place.images.name) == "images" for place in found):
        return [place for place in found if place.masks.is_dir() or next(image_files(place.images), None)]
    return _numbered(folder) or ([Place("", folder, folder)] if _has_masks_beside(folder) else [])


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder, and broken links; hidden ones and those in hidden folders are left out."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path, folder) and not path.is_dir():
            yield path


def part_of(name: str) -> str:
    """Return which part a folder or file of this name is: "train", "val" or "test"; empty where it is none."""
    return _PART_OF.get(name.casefold(), "")


def is_mask_beside(stem: str) -> bool:
    """Return whether a file that stands among images is called as a mask of one: 0001_mask."""
    return _MASK_BESIDE.search(stem) is not None


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in a folder in the order of their names, without hidden ones."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [entry for entry in entries if entry.is_dir() and not entry.name.startswith(_HIDDEN)]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(name.startswith(_HIDDEN) for name in path.relative_to(folder).parts)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _normalized(name: str) -> str:
    """Return a folder's name in small letters, without the signs between its words, a format or a size at its end."""
    return re.sub(r"(png|jpe?g|tiff?|raw|\d+(x\d+)?)$", "", _letters(name))


def role_of(name: str) -> str | None:
    """Return what a folder of this name holds, images or masks; None where the name does not say."""
    plain = _normalized(name)
    if plain in IMAGES:
        return "images"
    return "masks" if plain in MASKS else None


def _named(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder in `folder` that has the first of `names` it can have, one with image files before others."""
    known = [entry for entry in folders_in(folder) if _normalized(entry.name) in names]
    known.sort(key=lambda entry: names.index(_normalized(entry.name)))
    return next((entry for entry in known if next(image_files(entry), None)), known[0] if known else None)


def _numbered(folder: Path) -> list[Place]:
    """Return scene1/, scene2/, ... that each hold images and masks; empty where other folders hold images too."""
    entries = folders_in(folder)
    numbered = [entry for entry in entries if re.search(r"\d", entry.name)]
    if len(numbered) < 2 or len({re.sub(r"\d+", "0", entry.name) for entry in numbered}) > 1:
        return []
    found = [(entry, pool_in(entry)) for entry in numbered]
    places = [replace(pool, above=entry.name) for entry, pool in found if pool and not _parts_below(pool)]
    whole = all(next(image_files(at), None) for place in places for at in (place.images, place.masks))
    others = any(next(image_files(entry), None) for entry in entries if entry not in numbered)
    return places if len(places) == len(numbered) and whole and not others else []


def pool_in(folder: Path) -> Place | None:
    """Return the folders of images and of masks in a folder; None where it has neither, or one of an unclear name."""
    images, masks = _named(folder, IMAGES), _named(folder, MASKS)
    if masks is not None and (trimaps := _named(masks, ("trimaps",))) is not None:  # the Oxford pets
        masks = trimaps
    if images is None and masks is not None and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        return Place("", folder, masks)
    alone = images or masks
    if alone is None or (None in (images, masks) and _normalized(alone.name) not in _ALONE):
        return None
    return Place("", images or folder / IMAGES[0], masks or folder / "masks")


def _listed(folder: Path, pool: Place) -> list[Place]:
    """Return the parts that ImageSets/Segmentation/ lists, as Pascal VOC has them; the pool where it lists no parts."""
    lists = next((below for sets in _called(folder, "imagesets") for below in _called(sets, "segmentation")), None)
    if lists is None:
        return []
    pool = replace(pool, partial=True)
    listed = {path: part_of(path.stem) for path in sorted(lists.glob("*.txt"))}
    parts = [replace(pool, part=part, names=path, partial=part == "test") for path, part in listed.items() if part]
    return sorted(parts, key=lambda place: PARTS.index(place.part)) or [pool]


def _called(folder: Path, name: str) -> list[Path]:
    return [entry for entry in folders_in(folder) if _normalized(entry.name) == name][:1]


def _parts_below(pool: Place) -> list[Place]:
    """Return images/train/, images/val/, ...; empty where images/ has other sub-folders, or images of its own."""
    if not pool.images.is_dir():
        return []
    entries = [entry for entry in pool.images.iterdir() if not entry.name.startswith(".")]
    parts = [part_of(entry.name) for entry in entries]
    if "train" not in parts or not all(parts) or not all(entry.is_dir() for entry in entries):
        return []
    entries.sort(key=lambda entry: (PARTS.index(part_of(entry.name)), entry))
    return [Place(part_of(entry.name), entry, _same_part(pool.masks, entry.name)) for entry in entries]


def _same_part(masks: Path, name: str) -> Path:
    """Return the folder of the part `name` in masks/, as it is spelled there."""
    spelled = [entry for entry in folders_in(masks) if part_of(entry.name) == part_of(name)]
    return next((entry for entry in spelled if entry.name == name), spelled[0] if spelled else masks / name)


def _named_parts(folder: Path) -> dict[str, dict[str, dict[str | None, Path]]]:
    """Return the folders that are named after parts, by part, its spelling and what they hold: val, valid_masks.

    What a folder holds is None where its name does not say.
    """
    found: dict[str, dict[str, dict[str | None, Path]]] = {part: {} for part in PARTS}
    for entry in folders_in(folder):
        spelling, role = spelling_of(entry.name)
        if spelling:
            found[_PART_OF[spelling]].setdefault(spelling, {})[role] = entry
    return found


def spelling_of(name: str) -> tuple[str, str | None]:
    """Return how the name of a folder spells its part, and what it holds: "valid", "masks"; empty where it is none."""
    plain = _letters(name)
    for spelling in sorted(_PART_OF, key=len, reverse=True):
        rest = plain.removeprefix(spelling) if plain.startswith(spelling) else plain.removesuffix(spelling)
        role = role_of(rest)
        if rest != plain and (role or not rest):
            return spelling, role
    return "", None


def _places_of(folder: Path, part: str, spellings: dict[str, dict[str | None, Path]]) -> Iterator[Place]:
    """Yield where the images and masks of a part are, for each way in which it is spelled."""
    for name, held in spellings.items():
        whole = held.get(None)
        inside = pool_in(whole) if whole else None
        images = held.get("images", whole)
        if inside is not None:
            yield replace(inside, part=part)
        elif "masks" in held or images is not whole:
            yield Place(part, images or folder / f"{name}_images", held.get("masks", folder / f"{name}_masks"))
        elif whole and _has_masks_beside(whole):
            yield Place(part, whole, whole)
        elif whole:
            yield Place(part, whole, folder / f"{whole.name}annot")


def _has_masks_beside(folder: Path) -> bool:
    """Return whether a folder has masks beside their images: 0001.jpg and 0001_mask.png."""
    near = (path for pattern in ("*", "*/*") for path in folder.glob(pattern))  # not all of a disk, for a wrong folder
    files = [path for path in near if path.suffix.lower() in IMAGE_SUFFIXES and not _is_hidden(path, folder)]
    stems = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    masks = [stem for stem in stems if is_mask_beside(stem)]
    return bool(masks) and bool(pair([stem for stem in stems if not is_mask_beside(stem)], masks).masks)
