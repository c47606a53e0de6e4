"""What an augmentation changes: a batch of images with their labels, and which of their pixels are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Samples:
    """A batch in training.

    Attributes
    ----------
    images
        uint8 (N, H, W, C).
    labels
        integers (N, H, W).
    known
        bool (N, H, W): False for pixels that came in from outside. Those are 0 in image and label, and nobody knows
        what they show, so they count nowhere.
    background_id
        The class of what is no object; None where the data have none.
    """

    images: Images
    labels: Labels
    known: Mask
    background_id: int | None = None


Change = Callable[[Samples, float, np.random.Generator], Samples]
"""(samples, strength, source of randomness) -> changed samples of the same shapes and dtypes; nothing in place."""
