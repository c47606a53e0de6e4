"""Changes of position without interpolation: flips, and shifts by whole pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segtool.train.augmentation.samples import Samples


def flip_horizontal(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:  # noqa: ARG001
    """Mirror each image left to right with probability 1/2."""
    return _flip(samples, 2, rng)


def flip_vertical(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:  # noqa: ARG001
    """Mirror each image top to bottom with probability 1/2."""
    return _flip(samples, 1, rng)


def _flip(samples: Samples, axis: int, rng: np.random.Generator) -> Samples:
    chosen = rng.random(len(samples.labels)) < 0.5
    arrays = {}
    for name in ("images", "labels", "known"):
        array = getattr(samples, name).copy()
        array[chosen] = np.flip(array[chosen], axis)
        arrays[name] = array
    return replace(samples, **arrays)


def shift(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Move each image and its labels by the same random number of whole pixels.

    Parameters
    ----------
    samples
        The batch.
    strength
        Largest shift in pixels, clipped to the image size; drawn uniformly from [-strength, strength] per axis.
    rng
        Source of randomness.
    """
    limit, (_, height, width) = int(strength), samples.labels.shape
    count = len(samples.labels)
    down = rng.integers(-min(limit, height - 1), min(limit, height - 1) + 1, count)
    right = rng.integers(-min(limit, width - 1), min(limit, width - 1) + 1, count)
    moved = {name: np.zeros_like(getattr(samples, name)) for name in ("images", "labels", "known")}
    for index, (dy, dx) in enumerate(zip(down.tolist(), right.tolist(), strict=True)):
        target = _window(dy, height), _window(dx, width)
        source = _window(-dy, height), _window(-dx, width)
        for name, array in moved.items():
            array[index][target] = getattr(samples, name)[index][source]
    return replace(samples, **moved)


def _window(offset: int, size: int) -> slice:
    """Return the part of a line of `size` pixels that is covered after a shift by `offset`."""
    return slice(max(offset, 0), size + min(offset, 0))
