"""Geometric changes: flips and shifts by whole pixels, zooms and deformations.

Zooms and deformations sample images bilinearly and labels by nearest neighbour, at the same positions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray
from segtool.train.augmentation.samples import Samples
from segtool.train.augmentation.zoom import Axis, Zoom

GRID = 16  # pixels between the nodes of an elastic deformation


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


def scale(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Zoom each image about its centre.

    Parameters
    ----------
    samples
        The batch.
    strength
        The factor is drawn log-uniformly from [1 / (1 + strength), 1 + strength].
    rng
        Source of randomness.
    """
    limit = np.log1p(strength)
    factors = np.exp(rng.uniform(-limit, limit, len(samples.labels))).tolist()
    zoomed = {name: np.zeros_like(getattr(samples, name)) for name in ("images", "labels", "known")}
    for index, factor in enumerate(factors):
        zoom = Zoom(*(Axis(length, _margin(length, factor), factor, length) for length in samples.labels.shape[1:]))
        known = zoom.labels(samples.known[index])
        zoomed["images"][index][zoom.known] = zoom.image(samples.images[index]) * known[..., None]
        zoomed["labels"][index][zoom.known] = zoom.labels(samples.labels[index]) * known
        zoomed["known"][index][zoom.known] = known
    return replace(samples, **zoomed)


def _margin(length: int, factor: float) -> float:
    """Return where a window of `length` output pixels starts that has the same centre as a line of `length` pixels."""
    return (length - length / factor) / 2


def elastic(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Deform each image smoothly.

    Random displacements on a coarse grid are interpolated by cubic B-splines: Ronneberger, Fischer, Brox: U-Net
    (MICCAI 2015), section 3.1, after Simard, Steinkraus, Platt (ICDAR 2003).

    Parameters
    ----------
    samples
        The batch.
    strength
        Largest displacement in pixels along each axis.
    rng
        Source of randomness.
    """
    count, height, width = samples.labels.shape
    down, right = _spline_weights(height), _spline_weights(width)
    nodes = rng.uniform(-strength, strength, (2, count, down.shape[1], right.shape[1])).astype(np.float32)
    rows, columns = down @ nodes @ right.T
    return warp(
        samples,
        rows + np.arange(height, dtype=np.float32)[:, None],
        columns + np.arange(width, dtype=np.float32),
    )


def warp(samples: Samples, rows: FloatArray, columns: FloatArray) -> Samples:
    """Resample a batch: pixel (y, x) of image n takes the value at (rows[n, y, x], columns[n, y, x]).

    Parameters
    ----------
    samples
        The batch to sample from.
    rows, columns
        Source positions in pixels, float32, broadcastable to (N, H, W); a whole number is the centre of a pixel. A
        position outside the image, or nearest to an unknown pixel, gives an unknown pixel.
    """
    _, height, width = samples.labels.shape
    # The image ends half a pixel beyond the outermost pixel centres.
    inside = (rows >= -0.5) & (rows < height - 0.5) & (columns >= -0.5) & (columns < width - 0.5)
    nearest = _flat(np.rint(rows), np.rint(columns), samples.labels.shape)
    known = inside & samples.known.reshape(-1)[nearest]
    labels = np.where(known, samples.labels.reshape(-1)[nearest], samples.labels.dtype.type(0))
    images = np.where(known[..., None], _bilinear(samples, rows, columns), np.uint8(0))
    return replace(samples, images=images, labels=labels, known=known)


def _bilinear(samples: Samples, rows: FloatArray, columns: FloatArray) -> npt.NDArray[np.uint8]:
    """Return uint8 (N, H, W, C), rounded to the nearest grey level."""
    pixels = samples.images.reshape(-1, samples.images.shape[-1])
    top, left = np.floor(rows), np.floor(columns)
    down, right = rows - top, columns - left
    mixed = np.zeros(samples.images.shape, np.float32)
    for y, row_share in ((top, 1 - down), (top + 1, down)):
        for x, column_share in ((left, 1 - right), (left + 1, right)):
            mixed += (row_share * column_share)[..., None] * pixels[_flat(y, x, samples.labels.shape)]
    return np.rint(mixed).astype(np.uint8)


def _flat(rows: FloatArray, columns: FloatArray, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Return indices (N, H, W) into the pixels of all images; positions outside are clipped to the edge."""
    count, height, width = shape
    y = np.clip(rows, 0, height - 1).astype(np.intp)
    x = np.clip(columns, 0, width - 1).astype(np.intp)
    return (np.arange(count) * (height * width))[:, None, None] + y * width + x


def _spline_weights(size: int) -> FloatArray:
    """Return float32 (size, nodes): weights of the nodes for each pixel, uniform cubic B-splines; rows sum to 1."""
    place = np.arange(size) / GRID
    first = place.astype(np.intp)
    t = (place - first)[:, None]
    shares = np.concatenate(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    ) / 6  # fmt: skip
    weights = np.zeros((size, int(first[-1]) + 4), np.float32)
    np.put_along_axis(weights, first[:, None] + np.arange(4), shares.astype(np.float32), axis=1)
    return weights
