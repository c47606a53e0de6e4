"""Types of arrays, one name for each."""

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]

UInt8Array = npt.NDArray[np.uint8]
"""Raw pixels, 0..255."""

IntegerArray = npt.NDArray[np.integer[Any]]
"""Class ids, or the raw values of a mask."""

Int64Array = npt.NDArray[np.int64]
"""Numbers of pixels, or positions."""

IndexArray = npt.NDArray[np.intp]
"""Positions in a data set."""

BoolArray = npt.NDArray[np.bool_]

FloatArray = npt.NDArray[np.float32]
"""Logits or probabilities."""

Float64Array = npt.NDArray[np.float64]
"""Scores and statistics."""

FloatingArray = npt.NDArray[np.floating[Any]]
"""Scores of any precision."""
