"""The input and output of an augmentation: images, their labels, and a mask of the known pixels."""

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
    """A training batch.

    Attributes
    ----------
    images
        uint8 (N, H, W, C).
    labels
        integers (N, H, W).
    known
        bool (N, H, W): False for pixels from outside the image. They are 0 in image and label, and do not count in
        the loss.
    background_id
        The background class; None if the data have none.
    """

    images: Images
    labels: Labels
    known: Mask
    background_id: int | None = None


Change = Callable[[Samples, float, np.random.Generator], Samples]
"""(samples, strength, random generator) -> changed samples of the same shapes and dtypes; not in place."""
