"""The input and output of an augmentation: images, their labels, and a mask of the known pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segtool.array_types import BoolArray, IntegerArray, UInt8Array


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
    """

    images: UInt8Array
    labels: IntegerArray
    known: BoolArray


Change = Callable[[Samples, float, np.random.Generator], Samples]
"""(samples, strength, random generator) -> changed samples of the same shapes and dtypes; not in place."""
