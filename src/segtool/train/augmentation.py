"""Random changes of training images, in numpy, so that they are the same on every Keras backend."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Label = TypeVar("Label", bound=np.integer[Any])


def shift_batch(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[Label],
    *,
    limit: int,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Label], npt.NDArray[np.bool_]]:
    """Move each image and its labels by the same random number of pixels.

    Parameters
    ----------
    images
        uint8 (N, H, W, C).
    labels
        integers (N, H, W).
    limit
        Largest shift in pixels, each direction drawn uniformly from [-limit, limit]; cut to the image's size.
    rng
        Source of randomness.

    Returns
    -------
    tuple
        The moved images and labels, of the same shapes and dtypes, and bool (N, H, W): False for pixels that came in
        from outside. Those are 0 in image and label, and nobody knows what they show.
    """
    moved_images, moved_labels = np.zeros_like(images), np.zeros_like(labels)
    inside = np.zeros(labels.shape, np.bool_)
    _, height, width = labels.shape
    down = rng.integers(-min(limit, height - 1), min(limit, height - 1) + 1, len(labels))
    right = rng.integers(-min(limit, width - 1), min(limit, width - 1) + 1, len(labels))
    for index, (dy, dx) in enumerate(zip(down.tolist(), right.tolist(), strict=True)):
        target = _window(dy, height), _window(dx, width)
        source = _window(-dy, height), _window(-dx, width)
        moved_images[index][target] = images[index][source]
        moved_labels[index][target] = labels[index][source]
        inside[index][target] = True
    return moved_images, moved_labels, inside


def _window(offset: int, size: int) -> slice:
    """Return where a line of `size` pixels lies in itself after a move by `offset`."""
    return slice(max(offset, 0), size + min(offset, 0))
