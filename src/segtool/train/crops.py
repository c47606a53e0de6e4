"""Batches of random crops, for images larger than the network's input or of different sizes.

The number of crops in an epoch is chosen so that they have about as many pixels as the images; those of a few much
larger images are fewer, so that these do not fill the epoch. Each epoch draws new positions. An image smaller than a
crop is extended with its border pixels, as for tiles in a prediction. These added pixels have no weight.

A large data set does not fit in memory. Its images are then visited in groups that do, so that each image is decoded
once in an epoch and not once for each crop. The groups depend on the sizes of the images only, not on the memory of the
machine, so that every machine draws the same crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.classes import MAX_LABEL, USUAL_IGNORE
from segtool.images.arrays import count_labels
from segtool.train.augmentation.zoom import Axis, Zoom
from segtool.train.batches import Taken, TrainingBatches

GROUP_PIXELS = 2**28
"""Pixels of the images whose crops are mixed: 20 photographs of 12 megapixels, or 1,500 of 480 x 360."""
MOST_OF_MEDIAN = 4
"""An image has at most this many times the crops of the median image in an epoch."""
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
    scales
        (lowest, highest) output pixels per pixel of the image, drawn log-uniformly for each crop; above 1 enlarges.
        With (1, 1) crops are windows of the image as it is.
    """

    size: Size
    num_classes: int
    rare_share: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)


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
    sizes
        (height, width) of each image in pixels; None to read them from the labels.
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
        sizes: Sequence[Size] | None = None,
        **options: Any,
    ) -> None:
        self._sizes = sizes or [(label.shape[0], label.shape[1]) for label in labels]
        counts = count_crops(self._sizes, rule.size)
        self._rule, self._owners = rule, np.repeat(np.arange(len(counts)), counts)
        self._present: dict[int, npt.NDArray[np.intp]] = {}
        self._nothing = _free_label(rule.num_classes) if ignore_id is None else ignore_id
        super().__init__(images, labels, ignore_id=self._nothing, **options)

    def count(self) -> int:
        """Return the number of crops in an epoch."""
        return len(self._owners)

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Return a random order of the crops; those of a group of images follow each other if the images are many."""
        pixels = np.array([height * width for height, width in self._sizes])
        if pixels.sum() <= GROUP_PIXELS:
            return super().order(rng)
        visits = rng.permutation(len(pixels))
        group = np.empty(len(pixels), np.intp)
        group[visits] = np.cumsum(pixels[visits]) // GROUP_PIXELS
        mixed = super().order(rng)
        return mixed[np.argsort(group[self._owners[mixed]], kind="stable")]

    def take(self, chosen: npt.NDArray[np.intp], epoch: int, index: int) -> Taken:
        """Return the crops `chosen` of batch `index`, drawn for an epoch."""
        rng = np.random.default_rng([self.seed, epoch, index, 1])
        crops = [self._draw(int(owner), rng) for owner in self._owners[chosen]]
        return np.stack([image for image, _ in crops]), np.stack([label for _, label in crops])

    def _draw(self, owner: int, rng: np.random.Generator) -> Taken:
        label, size = self.labels[owner], self._rule.size
        focus = self._focus(owner, rng) if rng.random() < self._rule.rare_share else None
        if self._rule.scales != (1, 1):
            zoom = draw_zoom(label.shape, self._rule, focus, rng)
            return cut_zoomed(self.images[owner], label, zoom, nothing=self._nothing)
        top, left = (
            draw_start(length, crop, None if focus is None else focus[axis], rng)
            for axis, (length, crop) in enumerate(zip(label.shape, size, strict=True))
        )
        return cut(self.images[owner], label, (top, left), size, nothing=self._nothing)

    def _focus(self, owner: int, rng: np.random.Generator) -> Size | None:
        """Return a random pixel (y, x) of a random class of an image; None if all its pixels are ignored."""
        label = self.labels[owner]
        if owner not in self._present:
            self._present[owner] = np.flatnonzero(count_labels(label, self._rule.num_classes))
        present = self._present[owner]
        if not present.size:
            return None
        pixels = np.flatnonzero(label == rng.choice(present))
        y, x = divmod(int(rng.choice(pixels)), label.shape[1])
        return y, x


def count_crops(sizes: Sequence[Size], crop: Size) -> npt.NDArray[np.intp]:
    """Return the number of crops of each image in an epoch.

    They have about as many pixels as the image (height, width), but are at most `MOST_OF_MEDIAN` times those of the
    median image, and at least one.
    """
    whole = np.maximum(1, np.round(np.prod(sizes, axis=1) / np.prod(crop)))
    counts: npt.NDArray[np.intp] = np.minimum(whole, np.floor(MOST_OF_MEDIAN * np.median(whole))).astype(np.intp)
    return counts


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
    return _extended(part, ids, beyond, nothing)


def draw_zoom(shape: tuple[int, ...], rule: CropRule, focus: Size | None, rng: np.random.Generator) -> Zoom:
    """Return a random window of a random scale of an image (H, W); the window holds the pixel `focus` unless None.

    The window lies inside the image on each axis that is long enough. On a shorter axis the window holds all of it.
    """
    low, high = np.log(rule.scales)
    factor = float(np.exp(rng.uniform(low, high)))
    axes = []
    for axis, (length, crop) in enumerate(zip(shape, rule.size, strict=True)):
        window = crop / factor
        first, last = min(0.0, length - window), max(0.0, length - window)
        if focus is not None:
            first, last = max(first, focus[axis] + 1 - window), min(last, focus[axis])
        axes.append(Axis(length, float(first + rng.random() * (last - first)), factor, crop))
    return Zoom(*axes)


def cut_zoomed(image: npt.NDArray[np.uint8], label: npt.NDArray[np.integer[Any]], zoom: Zoom, *, nothing: int) -> Taken:
    """Return what a window shows of an image and its labels; labels outside the image are `nothing`."""
    beyond = [(axis.known.start, axis.size - axis.known.stop) for axis in (zoom.rows, zoom.columns)]
    return _extended(zoom.image(image), zoom.labels(label), beyond, nothing)


def _extended(
    image: npt.NDArray[np.uint8], label: npt.NDArray[np.integer[Any]], beyond: list[tuple[int, int]], nothing: int
) -> Taken:
    """Return an image with its border repeated, and its labels with `nothing`, by pixels before and behind per axis."""
    wide = label.astype(np.promote_types(label.dtype, np.min_scalar_type(nothing)), copy=False)
    if not np.any(beyond):
        return image, wide
    return np.pad(image, [*beyond, (0, 0)], mode="edge"), np.pad(wide, beyond, constant_values=nothing)


def _free_label(num_classes: int) -> int:
    """Return a label that is not a class id."""
    return USUAL_IGNORE if num_classes <= USUAL_IGNORE else MAX_LABEL
