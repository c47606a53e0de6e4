"""Expected calibration error of the probabilities: whether 0.9 means correct in nine of ten cases.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, equations 2 to 5, over pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError
from segtool.metrics.overlap import ratio

BINS = 15
_BLOCK = 1 << 20  # pixels at a time, which bounds the memory
_ROUNDING = 1e-2  # a softmax in bfloat16 may exceed 1 by this; such values count in the last bin
CALIBRATION_CONVENTION = (
    f"Expected calibration error (Guo et al., ICML 2017) over pixels. The confidence is the largest probability, in "
    f"{BINS} bins of equal width, each including its lower edge and excluding its upper edge (the last includes 1). "
    "The error is the sum over bins of the fraction of pixels times |accuracy - mean confidence|. Ignored pixels are "
    "not counted."
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The counts for a calibration error; counts of several images can be added.

    Attributes
    ----------
    pixels, hits
        int64 (BINS,): pixels whose confidence lies in each bin, and the correct ones among them.
    confidence
        float64 (BINS,): sum of the confidences.
    """

    pixels: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]

    @classmethod
    def empty(cls) -> Calibration:
        """Return counts of zero pixels."""
        return cls(np.zeros(BINS, np.int64), np.zeros(BINS, np.int64), np.zeros(BINS))

    @classmethod
    def of(
        cls,
        truth: npt.NDArray[np.integer[Any]],
        prediction: npt.NDArray[np.integer[Any]],
        confidence: npt.NDArray[np.floating[Any]],
        *,
        ignore_id: int | None = None,
    ) -> Calibration:
        """Count the pixels of label maps by their confidence.

        Parameters
        ----------
        truth, prediction
            Class ids of one shape; pixels with `ignore_id` in the truth are not counted.
        confidence
            Probability of the predicted class, 0..1, of the same shape.

        Raises
        ------
        DataError
            The shapes differ, or a confidence is not in 0..1.
        """
        if not truth.shape == prediction.shape == confidence.shape:
            raise DataError(
                f"The truth has shape {truth.shape}, the prediction {prediction.shape} and its confidence "
                f"{confidence.shape}; expected the same."
            )
        flat_truth, flat_prediction = truth.reshape(-1), prediction.reshape(-1)
        flat_confidence = confidence.reshape(-1)
        total = cls.empty()
        for start in range(0, truth.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            total += cls._of_block(flat_truth[block], flat_prediction[block], flat_confidence[block], ignore_id)
        return total

    @classmethod
    def _of_block(
        cls,
        truth: npt.NDArray[np.integer[Any]],
        prediction: npt.NDArray[np.integer[Any]],
        confidence: npt.NDArray[np.floating[Any]],
        ignore_id: int | None,
    ) -> Calibration:
        kept = np.ones(truth.shape, np.bool_) if ignore_id is None else truth != ignore_id
        values = confidence[kept].astype(np.float64)
        _check_range(values)
        # Search the edges instead of dividing: 0.6 * 15 may round to either side of 9.
        bins = np.searchsorted(_edges()[1:-1], values, side="right")
        right = (truth == prediction)[kept]
        return cls(
            np.bincount(bins, minlength=BINS),
            np.bincount(bins[right], minlength=BINS),
            np.bincount(bins, weights=values, minlength=BINS).astype(np.float64, copy=False),
        )

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(self.pixels + other.pixels, self.hits + other.hits, self.confidence + other.confidence)

    def error(self) -> float:
        """Return the expected calibration error, 0..1; NaN without any pixel."""
        total = int(self.pixels.sum())
        return float(np.abs(self.hits - self.confidence).sum() / total) if total else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return the error and the bins, in plain Python types; accuracy and confidence of an empty bin are NaN."""
        edges, pixels = _edges().tolist(), self.pixels.astype(np.float64)
        rows = zip(
            edges[:-1],
            edges[1:],
            self.pixels.tolist(),
            ratio(self.hits.astype(np.float64), pixels).tolist(),
            ratio(self.confidence, pixels).tolist(),
            strict=True,
        )
        names = ("low", "high", "pixels", "accuracy", "confidence")
        return {
            "expected_calibration_error": self.error(),
            "bins": [dict(zip(names, row, strict=True)) for row in rows],
        }


def _edges() -> npt.NDArray[np.float64]:
    return np.linspace(0.0, 1.0, BINS + 1)


def _check_range(values: npt.NDArray[np.float64]) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= 1 + _ROUNDING):
        raise DataError(f"The confidences are in {values.min():g}..{values.max():g}; expected probabilities in 0..1.")
