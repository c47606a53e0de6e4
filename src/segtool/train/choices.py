"""The network, the recipe and the sizes that suit the data, where the user names none, and the reasons."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from segtool.data.base import Dataset, Size, show_size
from segtool.machine.memory import available_memory
from segtool.train.architectures import WITH_ENCODER
from segtool.train.architectures.encoders import DEFAULT
from segtool.train.device import Device
from segtool.train.options import AUTO, TrainOptions
from segtool.train.recipes import IMAGENET, NONE, Recipe

PHOTO_SIDE = 128
"""Images whose shorter side has this median length in pixels, or more, get the network for photographs."""

MOST_PIXELS = 800_000
"""Images with more pixels (the median) are resized, unless the user gives --size or --crop."""

RESIZED_PIXELS = 500_000
"""The number of pixels that they are resized to."""

STEP_BYTES = 3000
"""Memory of a training step of fcn8-lite for each pixel of its batch; a step of 8 x 256 x 320 pixels took 1.9 GB."""

MULTIPLE = 32
"""Sizes that are not those of the images are multiples of it: the network pads others."""


@dataclass(frozen=True)
class Choices:
    """Options without open choices, and a sentence for each choice that was made for the user.

    `size` is (height, width) of the network's input in pixels.
    """

    options: TrainOptions
    size: Size
    reasons: tuple[str, ...]


def choose(options: TrainOptions, data: Dataset) -> Choices:
    """Return the options with the network, the recipe and the size of the images chosen where they are open."""
    sizes, reasons = data.sizes(), []
    side = round(float(np.median([min(size) for size in sizes])))
    arch, recipe, size = options.arch, options.recipe, options.crop or options.size
    if arch == AUTO:
        large = side >= PHOTO_SIDE
        arch = "fcn8-lite" if large or options.encoder else "fcn8-edge"
        reasons.append(
            f"network {arch}, because the images have a median shorter side of {side} pixels ({PHOTO_SIDE} or more: "
            "fcn8-lite)"
        )
    if recipe == AUTO:
        recipe = "photos" if arch in WITH_ENCODER else "standard"
        reasons.append(f"recipe {recipe}, which is for {arch}")
    if size is None:
        size = common_size(sizes)
        if set(sizes) != {size}:
            reasons.append(
                f"images resized to {show_size(size)} (height x width); --size HxW chooses another size, and --crop "
                "HxW keeps their scale and predicts in tiles"
            )
    resized = None if options.crop else size
    encoder, weights = (options.encoder or DEFAULT, IMAGENET) if arch in WITH_ENCODER else (None, NONE)
    chosen = replace(
        options, arch=arch, recipe=recipe, size=resized, encoder=encoder, weights=options.weights or weights
    )
    return Choices(chosen, size, tuple(reasons))


def common_size(sizes: list[Size]) -> Size:
    """Return the size that all images are resized to.

    It is that of at least half of the images, unless they are too large; else their median shape and number of pixels.
    """
    counts = Counter(sizes)
    frequent = max(counts, key=lambda size: (counts[size], size))
    if 2 * counts[frequent] >= len(sizes) and math.prod(frequent) <= MOST_PIXELS:
        return frequent
    pixels = float(np.median([height * width for height, width in sizes]))
    shape = float(np.median([height / width for height, width in sizes]))
    return of_pixels(RESIZED_PIXELS if pixels > MOST_PIXELS else pixels, shape)


def of_pixels(pixels: float, shape: float) -> Size:
    """Return the size with about so many pixels and the shape height / width, in multiples of `MULTIPLE`."""
    height, width = math.sqrt(pixels * shape), math.sqrt(pixels / shape)
    return _rounded(height), _rounded(width)


def training_crop(size: Size, pixels: int) -> Size:
    """Return the size of training crops with about so many pixels, in the shape of the images, not above `size`."""
    height, width = of_pixels(pixels, size[0] / size[1])
    return min(height, size[0]), min(width, size[1])


def affordable_batch(batch_size: int, pixels: int, memory: int | None) -> int:
    """Return the batch size, halved until a step fits into half of the available memory.

    Parameters
    ----------
    batch_size
        Images per step that the recipe asks for.
    pixels
        Pixels of an image or crop.
    memory
        Available memory in bytes; None if unknown.
    """
    while memory is not None and batch_size > 1 and batch_size * pixels * STEP_BYTES > memory / 2:
        batch_size //= 2
    return batch_size


def with_affordable_batch(
    options: TrainOptions, recipe: Recipe, size: tuple[int, int], device: Device
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe with a smaller batch if the memory needs it and the user chose none, and the reason.

    The memory is that of this process: it is not the GPU's, and several workers need the same batch.
    """
    if options.batch_size is not None or options.arch not in WITH_ENCODER:
        return recipe, ()
    if device.processor != "cpu" or device.cluster.workers > 1:
        return recipe, ()
    memory = available_memory()
    batch_size = affordable_batch(recipe.batch_size, size[0] * size[1], memory)
    if memory is None or batch_size == recipe.batch_size:
        return recipe, ()
    reason = f"batches of {batch_size} in place of {recipe.batch_size}, for {memory / 1e9:.1f} GB of free memory"
    return replace(recipe, batch_size=batch_size), (reason,)


def _rounded(length: float) -> int:
    return max(MULTIPLE, round(length / MULTIPLE) * MULTIPLE)
