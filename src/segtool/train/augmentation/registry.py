"""The augmentations by name, and how a user writes them: `shift:12,noise`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segtool.data.classes import Classes
from segtool.errors import TrainingError
from segtool.train.augmentation.intensity import brightness, contrast, noise
from segtool.train.augmentation.moves import flip_horizontal, flip_vertical, shift
from segtool.train.augmentation.recompose import recompose
from segtool.train.augmentation.samples import Change, Images, Labels, Mask, Samples
from segtool.train.augmentation.warps import elastic, scale

NONE = "none"


@dataclass(frozen=True)
class Augmentation:
    """A random change of training images.

    Attributes
    ----------
    change
        What does it.
    summary
        What it does, for people; `strength` is spoken of as S.
    strength
        Its strength where none is given; None for one that has none.
    most
        Largest strength that makes sense.
    whole
        Whether the strength is a whole number.
    in_pixels
        Whether the strength is how far something moves, in pixels.
    """

    change: Change
    summary: str
    strength: float | None = None
    most: float = 0.0
    whole: bool = False
    in_pixels: bool = False


# In the order in which they are applied, whatever order they are asked for in.
AUGMENTATIONS: Mapping[str, Augmentation] = {
    "recompose": Augmentation(
        recompose, "new images from the objects of two, each moved up to S pixels sideways and to any height; for "
        "bright objects on black, as in M2NIST", 9, 4096, whole=True,
        in_pixels=True,
    ),
    "flip-horizontal": Augmentation(
        flip_horizontal, "mirrored left to right, half of the images; only where no class has a handedness (digits, "
        "letters and lanes have)",
    ),
    "flip-vertical": Augmentation(
        flip_vertical, "mirrored top to bottom, half of the images; only where up means nothing",
    ),
    "scale": Augmentation(scale, "zoomed by a factor from 1 / (1 + S) to 1 + S", 0.15, 3),
    "elastic": Augmentation(elastic, "bent smoothly, by up to S pixels", 4, 64, in_pixels=True),
    "shift": Augmentation(
        shift, "moved by up to S pixels up, down, left and right, half a side at most", 12, 4096, whole=True,
        in_pixels=True,
    ),
    "brightness": Augmentation(brightness, "pixels times a factor from 1 - S to 1 + S", 0.3, 1),
    "contrast": Augmentation(contrast, "distance from the image's mean times a factor from 1 - S to 1 + S", 0.3, 1),
    "noise": Augmentation(noise, "Gaussian noise with a deviation of up to S grey levels", 10, 128),
}  # fmt: skip


class Augmenter:
    """Changes batches by some augmentations; the same source of randomness gives the same batch.

    Parameters
    ----------
    steps
        (name, strength) as `parse_augmentations` gives them.
    background_id
        The class of what is no object; None where there is none.
    """

    def __init__(self, steps: tuple[tuple[str, float], ...], *, background_id: int | None = None) -> None:
        self._steps = [(AUGMENTATIONS[name].change, strength) for name, strength in steps]
        self._background_id = background_id

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(self, images: Images, labels: Labels, rng: np.random.Generator) -> tuple[Images, Labels, Mask]:
        """Return changed images uint8 (N, H, W, C), labels (N, H, W), and bool (N, H, W): False where unknown."""
        samples = Samples(images, labels, np.ones(labels.shape, np.bool_), self._background_id)
        for change, strength in self._steps:
            samples = change(samples, strength, rng)
        return samples.images, samples.labels, samples.known


def parse_augmentations(text: str) -> tuple[tuple[str, float], ...]:
    """Return (name, strength) of each augmentation in a text such as `shift:12,noise`, in the order of use.

    Raises
    ------
    TrainingError
        An unknown name, one given twice, or a strength that is none.
    """
    if text.strip() == NONE:
        return ()
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, strength = (item.strip() for item in part.partition(":"))
        if name == NONE:
            raise TrainingError(f"The word {NONE} stands alone, found {text!r}; leave it out, or write {NONE} only.")
        if name not in AUGMENTATIONS:
            raise TrainingError(
                f"There is no augmentation {name!r}; write {NONE}, or some of {', '.join(AUGMENTATIONS)} with commas "
                "between them, each with a strength behind a colon if you like (shift:12,noise)."
            )
        if name in found:
            raise TrainingError(f"The augmentation {name} is given twice in {text!r}; give it once.")
        found[name] = _strength(name, strength) if colon else AUGMENTATIONS[name].strength or 0.0
    return tuple((name, found[name]) for name in AUGMENTATIONS if name in found)


def spell(steps: tuple[tuple[str, float], ...]) -> str:
    """Return augmentations as the text that `parse_augmentations` reads, each strength written out."""
    parts = [name if AUGMENTATIONS[name].strength is None else f"{name}:{strength:g}" for name, strength in steps]
    return ",".join(parts) or NONE


def check_augmentations(steps: tuple[tuple[str, float], ...], classes: Classes, *, cropped: bool = False) -> None:
    """Refuse augmentations that the data do not allow.

    Raises
    ------
    TrainingError
        `recompose` for data without a background class, or with pixels that count nowhere, which it would lose; or for
        crops, which hold parts of objects.
    """
    if "recompose" not in dict(steps):
        return
    if cropped:
        raise TrainingError(
            "The augmentation recompose takes whole images, and --crop was given; leave out one of them."
        )
    if classes.background_id is None or classes.ignore_id is not None:
        raise TrainingError(
            "The augmentation recompose needs data with a background class and no ignored pixels, and found "
            f"background {classes.background_id} and ignore id {classes.ignore_id}; leave it out."
        )


def too_far(steps: tuple[tuple[str, float], ...], size: tuple[int, int]) -> str | None:
    """Return a sentence on the first augmentation that moves what it changes by more than half a side; None for none.

    Parameters
    ----------
    steps
        (name, strength) as `parse_augmentations` gives them.
    size
        (height, width) in pixels of what is trained on.
    """
    most = min(size) // 2
    for name, strength in steps:
        if AUGMENTATIONS[name].in_pixels and strength > most:
            return (
                f"The augmentation {name}:{strength:g} moves by up to {strength:g} pixels in images of {size[0]} x "
                f"{size[1]} (height x width), expected half of a side at most, or little is left of them; write "
                f"--augment with {name}:{max(most, 1)} or less."
            )
    return None


def _strength(name: str, text: str) -> float:
    """Return the strength that a user wrote behind the name."""
    augmentation = AUGMENTATIONS[name]
    if augmentation.strength is None:
        raise TrainingError(f"The augmentation {name} has no strength, found {name}:{text}; write {name} alone.")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= augmentation.most or (augmentation.whole and value != int(value)):
        kind = "a whole number" if augmentation.whole else "a number"
        raise TrainingError(
            f"The strength of {name} is {kind} above 0 and up to {augmentation.most:g}, found {text!r}; "
            f"{augmentation.strength:g} is its own."
        )
    return value
