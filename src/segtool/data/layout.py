"""Where the images and masks of a folder are: which of the arrangements in use it has.

========================================  =====================================================
images/ and masks/                        one pool, to be split
train/images/ and train/masks/, val/...   parts
images/train/ and masks/train/, ...       parts
train/ and trainannot/, val/...           parts; SegNet's CamVid, or train_labels/, train_masks/
========================================  =====================================================

For masks/ there may be labels/ or annotations/, for val/ valid/ or validation/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segtool.images.decoding import IMAGE_SUFFIXES

IMAGES, MASKS = "images", ("masks", "labels", "annotations")
PARTS = ("train", "val", "test")
_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_BESIDE = ("annot", "annotation", "annotations", "label", "labels", "mask", "masks")


@dataclass(frozen=True)
class Place:
    """The two folders of a part.

    Attributes
    ----------
    part
        "train", "val" or "test"; empty for one pool.
    images, masks
        The folders; one of them may not exist.
    """

    part: str
    images: Path
    masks: Path


def find_places(folder: Path) -> list[Place]:
    """Return where the images and masks of a folder are; empty where it has none of the arrangements."""
    pool = Place("", folder / IMAGES, _masks_in(folder))
    if pool.images.is_dir() or pool.masks.is_dir():
        return _parts_below(pool) or [pool]
    found = [_part(folder, part, name) for part, name in _spelled(folder)]
    if not any(place.masks.is_dir() or place.images.name == IMAGES for place in found):
        return []
    return [place for place in found if place.masks.is_dir() or next(image_files(place.images), None)]


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files below a folder; hidden ones are left out."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _masks_in(folder: Path) -> Path:
    """Return the folder of masks in a folder; masks/ where there is none."""
    found = [folder / name for name in MASKS if (folder / name).is_dir()]
    return found[0] if found else folder / MASKS[0]


def _spelled(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the parts that a folder has, and how each is spelled there."""
    for part, names in _SPELLINGS.items():
        for name in names:
            if (folder / name).is_dir():
                yield part, name


def _parts_below(pool: Place) -> list[Place]:
    """Return images/train/, images/val/, ...; empty where images/ has other sub-folders, or images of its own."""
    if not pool.images.is_dir():
        return []
    spelled = dict(_spelled(pool.images))
    others = {entry.name for entry in pool.images.iterdir() if not entry.name.startswith(".")} - set(spelled.values())
    if "train" not in spelled or others:
        return []
    return [Place(part, pool.images / name, pool.masks / name) for part, name in spelled.items()]


def _part(folder: Path, part: str, name: str) -> Place:
    """Return where the images and masks of folder/name are, inside it or beside each other."""
    inside = Place(part, folder / name / IMAGES, _masks_in(folder / name))
    if inside.images.is_dir() or inside.masks.is_dir():
        return inside
    beside = [
        entry
        for entry in sorted(folder.glob(f"{name}*"))
        if entry.is_dir() and entry.name[len(name) :].lstrip("_-").lower() in _BESIDE
    ]
    return Place(part, folder / name, beside[0] if beside else folder / f"{name}annot")
