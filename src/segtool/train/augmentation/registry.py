"""The registry of augmentations, and the parser of texts such as `shift:12,noise`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segtool.array_types import BoolArray, IntegerArray, UInt8Array
from segtool.errors import TrainingError
from segtool.train.augmentation.geometry import elastic, flip_horizontal, flip_vertical, scale, shift
from segtool.train.augmentation.intensity import brightness, contrast, noise, saturation
from segtool.train.augmentation.samples import Change, Samples

NONE = "none"


@dataclass(frozen=True)
class Augmentation:
    """A random change of training images.

    Attributes
    ----------
    change
        The function that applies it.
    summary
        What it does, in one line for users; S stands for `strength`.
    strength
        The default strength; None for an augmentation without one.
    most
        The largest allowed strength.
    whole
        Whether the strength must be a whole number.
    in_pixels
        Whether the strength is a distance in pixels.
    """

    change: Change
    summary: str
    strength: float | None = None
    most: float = 0.0
    whole: bool = False
    in_pixels: bool = False


# In the order of application, independent of the order in which a user names them.
AUGMENTATIONS: Mapping[str, Augmentation] = {
    "flip-horizontal": Augmentation(
        flip_horizontal, "half of the images mirrored left to right; only if mirroring keeps each class (not "
        "for digits, letters or lanes)",
    ),
    "flip-vertical": Augmentation(
        flip_vertical, "half of the images mirrored top to bottom; only if up and down are equivalent",
    ),
    "scale": Augmentation(
        scale, "zoom by a factor from 1 / (1 + S) to 1 + S; crops show more or less of the image", 0.15, 3
    ),
    "elastic": Augmentation(elastic, "smooth deformation by up to S pixels", 4, 64, in_pixels=True),
    "shift": Augmentation(
        shift, "shift by up to S pixels up, down, left and right, at most half a side", 12, 4096,
        whole=True, in_pixels=True,
    ),
    "brightness": Augmentation(brightness, "pixels times a factor from 1 - S to 1 + S", 0.3, 1),
    "contrast": Augmentation(contrast, "distance from the image mean times a factor from 1 - S to 1 + S", 0.3, 1),
    "saturation": Augmentation(
        saturation, "distance of the colours from grey times a factor from 1 - S to 1 + S", 0.3, 1
    ),
    "noise": Augmentation(noise, "Gaussian noise with a standard deviation of up to S grey levels", 10, 128),
}  # fmt: skip


class Augmenter:
    """Applies augmentations to batches; the same state of the random generator gives the same batch.

    Parameters
    ----------
    steps
        (name, strength) of each, as returned by `parse_augmentations`.
    """

    def __init__(self, steps: tuple[tuple[str, float], ...]) -> None:
        self._steps = [(AUGMENTATIONS[name].change, strength) for name, strength in steps]

    def __bool__(self) -> bool:
        return bool(self._steps)

    def __call__(
        self, images: UInt8Array, labels: IntegerArray, rng: np.random.Generator
    ) -> tuple[UInt8Array, IntegerArray, BoolArray]:
        """Return changed images uint8 (N, H, W, C), labels (N, H, W), and bool (N, H, W): False where unknown."""
        samples = Samples(images, labels, np.ones(labels.shape, np.bool_))
        for change, strength in self._steps:
            samples = change(samples, strength, rng)
        return samples.images, samples.labels, samples.known


def parse_augmentations(text: str) -> tuple[tuple[str, float], ...]:
    """Return (name, strength) of each augmentation in a text such as `shift:12,noise`, in the order of application.

    Raises
    ------
    TrainingError
        A name is unknown or given twice, or a strength is not valid.
    """
    if text.strip() == NONE:
        return ()
    found: dict[str, float] = {}
    for part in text.split(","):
        name, colon, strength = (item.strip() for item in part.partition(":"))
        if name == NONE:
            raise TrainingError(
                f"The word {NONE} cannot be combined, found {text!r}; remove it, or write {NONE} alone."
            )
        if name not in AUGMENTATIONS:
            raise TrainingError(
                f"There is no augmentation {name!r}; write {NONE}, or a comma-separated list of "
                f"{', '.join(AUGMENTATIONS)}, each with an optional strength after a colon (shift:12,noise)."
            )
        if name in found:
            raise TrainingError(f"The augmentation {name} is given twice in {text!r}; give it once.")
        found[name] = _strength(name, strength) if colon else AUGMENTATIONS[name].strength or 0.0
    return tuple((name, found[name]) for name in AUGMENTATIONS if name in found)


def spell(steps: tuple[tuple[str, float], ...]) -> str:
    """Return the text of augmentations, with all strengths; the inverse of `parse_augmentations`."""
    parts = [name if AUGMENTATIONS[name].strength is None else f"{name}:{strength:g}" for name, strength in steps]
    return ",".join(parts) or NONE


def too_far(steps: tuple[tuple[str, float], ...], size: tuple[int, int]) -> str | None:
    """Return a message for the first augmentation that moves pixels by more than half a side; None if there is none.

    Parameters
    ----------
    steps
        (name, strength) of each, as returned by `parse_augmentations`.
    size
        (height, width) of the training images or crops in pixels.
    """
    most = min(size) // 2
    for name, strength in steps:
        if AUGMENTATIONS[name].in_pixels and strength > most:
            return (
                f"The augmentation {name}:{strength:g} moves by up to {strength:g} pixels in images of {size[0]} x "
                f"{size[1]} (height x width), expected half of a side or less, so that enough of the image remains; "
                f"write --augment with {name}:{max(most, 1)} or less."
            )
    return None


def _strength(name: str, text: str) -> float:
    """Return the strength that a user wrote after the name."""
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
            f"the default is {augmentation.strength:g}."
        )
    return value
