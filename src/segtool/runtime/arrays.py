"""The kinds of arrays that the runtime passes around."""

from typing import Any

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
"""Raw pixels, 0..255."""

IntegerArray = npt.NDArray[np.integer[Any]]
"""Class ids, or the raw values of a mask."""

FloatArray = npt.NDArray[np.float32]
"""Logits or probabilities."""
