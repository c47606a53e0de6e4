"""Batches of random crops, for images larger than the network's input or of different sizes.

The number of crops in an epoch is chosen so that they have about as many pixels as the images. Each epoch draws new
positions. An image smaller than a crop is extended with its border pixels at the bottom and on the right, as for tiles
in a prediction. These added pixels have no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.classes import MAX_LABEL, USUAL_IGNORE
from segtool.train.batches import Taken, TrainingBatches

Size = tuple[int, int]


@dataclass(frozen=True)
class CropRule:
    """How crops are drawn.

    Attributes
    ----------
    size
        (height, width) of a crop in pixels.
    num_classes
        Number of classes K.
    rare_share
        Fraction of the crops, 0..1, that are drawn around a pixel of a random class. Each class of the image has the
        same probability, so rare classes are shown more often than they occur. The other crops lie anywhere.
    """

    size: Size
    num_classes: int
    rare_share: float = 0.0


class CropBatches(TrainingBatches):
    """`TrainingBatches` of random crops.

    The same seed and epoch give the same crops, so a resume sees them too.

    Parameters
    ----------
    images, labels
        uint8 (H, W, C) and integers (H, W) each, of any size.
    rule
        How the crops are drawn.
    ignore_id
        Label of pixels that do not count. If None, the added pixels get an unused label.
    options
        The other parameters of `TrainingBatches`.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        labels: Sequence[npt.NDArray[np.integer[Any]]],
        *,
        rule: CropRule,
        ignore_id: int | None = None,
        **options: Any,
    ) -> None:
        counts = [crops_in(label.shape, rule.size) for label in labels]
        self._rule, self._owners = rule, np.repeat(np.arange(len(counts)), counts)
        self._present = [_present(label, rule.num_classes) for label in labels] if rule.rare_share else []
        self._nothing = _free_label(rule.num_classes) if ignore_id is None else ignore_id
        super().__init__(images, labels, ignore_id=self._nothing, **options)

    def count(self) -> int:
        """Return the number of crops in an epoch."""
        return len(self._owners)

    def take(self, chosen: npt.NDArray[np.intp], index: int) -> Taken:
        """Return the crops `chosen` of batch `index`, drawn for the current epoch."""
        rng = np.random.default_rng([self.seed, self.epoch, index, 1])
        crops = [self._draw(int(owner), rng) for owner in self._owners[chosen]]
        return np.stack([image for image, _ in crops]), np.stack([label for _, label in crops])

    def _draw(self, owner: int, rng: np.random.Generator) -> Taken:
        label = self.labels[owner]
        focus = self._focus(owner, rng) if rng.random() < self._rule.rare_share else None
        top, left = (
            draw_start(length, crop, None if focus is None else focus[axis], rng)
            for axis, (length, crop) in enumerate(zip(label.shape, self._rule.size, strict=True))
        )
        return cut(self.images[owner], label, (top, left), self._rule.size, nothing=self._nothing)

    def _focus(self, owner: int, rng: np.random.Generator) -> Size | None:
        """Return a random pixel (y, x) of a random class of an image; None if all its pixels are ignored."""
        present = self._present[owner]
        if not present.size:
            return None
        label = self.labels[owner]
        pixels = np.flatnonzero(label == rng.choice(present))
        y, x = divmod(int(rng.choice(pixels)), label.shape[1])
        return y, x


def crops_in(shape: tuple[int, ...], crop: Size) -> int:
    """Return the number of crops that have about as many pixels as an image (H, W), at least one."""
    return max(1, round(shape[0] * shape[1] / (crop[0] * crop[1])))


def draw_start(length: int, crop: int, focus: int | None, rng: np.random.Generator) -> int:
    """Return a random start of a crop on an axis of `length` pixels; the crop holds the pixel `focus` unless None."""
    first, last = 0, max(0, length - crop)
    if focus is not None:
        first, last = max(first, focus - crop + 1), min(last, focus)
    return int(rng.integers(first, last + 1))


def cut(
    image: npt.NDArray[np.uint8], label: npt.NDArray[np.integer[Any]], start: Size, size: Size, *, nothing: int
) -> Taken:
    """Return the crop of `size` at `start` (y, x) and its labels; labels outside the image are `nothing`."""
    window = tuple(slice(begin, begin + length) for begin, length in zip(start, size, strict=True))
    part, ids = image[window], label[window]
    if ids.shape == size:
        return part, ids
    beyond = [(0, length - found) for length, found in zip(size, ids.shape, strict=True)]
    wide = ids.astype(np.promote_types(ids.dtype, np.min_scalar_type(nothing)))
    return np.pad(part, [*beyond, (0, 0)], mode="edge"), np.pad(wide, beyond, constant_values=nothing)


def _free_label(num_classes: int) -> int:
    """Return a label that is not a class id."""
    return USUAL_IGNORE if num_classes <= USUAL_IGNORE else MAX_LABEL


def _present(label: npt.NDArray[np.integer[Any]], num_classes: int) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.bincount(label.ravel(), minlength=num_classes)[:num_classes])
