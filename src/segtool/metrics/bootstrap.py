"""Percentile bootstrap intervals over images: Efron and Tibshirani, "An introduction to the bootstrap" (1993).

Data sets differ in their images, and the pixels of one image depend on each other. Therefore whole images are drawn
with replacement, and each figure is computed again from the sums of the drawn images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array
from segtool.errors import DataError
from segtool.metrics.figures import figures_of
from segtool.metrics.images import ImageCounts
from segtool.metrics.overlap import ClassSums

_DRAWS = 1 << 18  # number at a time, which bounds the memory


@dataclass(frozen=True)
class Bootstrap:
    """The settings of the intervals; equal for two models on the same images, so that differences are paired.

    Attributes
    ----------
    resamples
        Number of resamples, each with as many images as the data set.
    level
        Fraction of the resamples within an interval, between 0 and 1.
    seed
        Seed of the draws, 0 or greater.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1 or not 0 < self.level < 1:
            raise DataError(
                f"An interval of level {self.level:g} from {self.resamples} resamples is not possible; "
                "expected a level between 0 and 1 and at least one resample."
            )

    def figures(
        self, counts: ImageCounts, foreground: npt.NDArray[np.bool_]
    ) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        """Return the figures of each resample, float64 (resamples,), and of each class, (resamples, K)."""
        stacked = counts.stacked()
        drawn = np.concatenate([weights @ stacked for weights in self._weights(len(counts))])
        parts = drawn.reshape(len(drawn), 6, -1).transpose(1, 0, 2)
        return figures_of(ClassSums(*parts[:3]), ClassSums(*parts[3:]), foreground)

    def interval(self, values: Float64Array) -> Interval:
        """Return the central interval of `level` of the values (resamples,), without NaN."""
        known = values[~np.isnan(values)]
        if not known.size:
            return Interval(float("nan"), float("nan"))
        outside = (1 - self.level) / 2
        low, high = np.quantile(known, [outside, 1 - outside])
        return Interval(float(low), float(high))

    def describe(self) -> dict[str, Any]:
        """Return the settings for JSON."""
        return {
            "method": "percentile bootstrap over images",
            "level": self.level,
            "resamples": self.resamples,
            "seed": self.seed,
        }

    def _weights(self, images: int) -> Iterator[Float64Array]:
        """Yield how often each image was drawn, float64 (some resamples, images), for all resamples."""
        rng = np.random.default_rng(self.seed)
        at_once = max(1, _DRAWS // max(1, images))
        for start in range(0, self.resamples, at_once):
            count = min(at_once, self.resamples - start)
            drawn = rng.integers(0, images, (count, images))
            drawn += np.arange(count)[:, np.newaxis] * images
            times = np.bincount(drawn.reshape(-1), minlength=count * images)
            yield times.reshape(count, images).astype(np.float64)


@dataclass(frozen=True)
class Interval:
    """Lower and upper end; NaN without an interval."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0

    def to_list(self) -> list[float]:
        """Return [low, high]."""
        return [self.low, self.high]
