"""The differences between models on the same images, and their output format: the JSON of `segtool evaluate A B`.

The object of ``segtool evaluate A B [C ...] --json`` (`Comparisons.to_dict`):

``data``, ``split``, ``data_fingerprint``, ``images``
    The data that all models were scored on.
``models``
    A list of objects of `segtool.evaluate.evaluation`, one per model, in the order given.
``comparisons``
    One entry for each further model against the first. ``first`` and ``second`` are the files. ``label_agreement`` is
    the fraction of counted pixels with the same label in both, ``images_alike`` the number of images without a
    differing pixel. ``figures`` is ``{FIGURE: {first, second, difference, interval: [low, high], verdict}}`` at
    data-set level; ``classes`` is a list of ``{id, name, iou, dice, boundary_iou}`` with the same entries.
    ``differ_most`` has up to ten images ``{index, image, label_agreement, ranked_by, first, second, difference}``
    (image-level figures), those with the most differing pixels first; identical images are excluded.
``convention``, ``boundary``
    As for each model: the definition of the figures, and the widths of the boundaries.
``intervals``
    How intervals are computed: ``{method, level, resamples, seed, convention}``.

A difference is second minus first. Its interval is paired: both models are scored on the same resamples. The verdict on
the second model is "better" or "worse" if the interval excludes 0, else "no difference shown"; null without interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import Float64Array
from segtool.evaluate.evaluation import LISTED, Evaluation
from segtool.metrics.figures import FIGURES, PER_CLASS
from segtool.metrics.overlap import ratio

PAIRED_CONVENTION = (
    "Differences are second minus first. Their intervals are paired: images are drawn with replacement, both models "
    "are scored on the same draws, and the difference is computed for each draw. They show the effect of the choice of "
    "images, not that of another training. For equal models, about one of twenty intervals excludes 0."
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A model against the first, on the same images.

    Attributes
    ----------
    first, second
        Their evaluations, with tallies that were counted together.
    """

    first: Evaluation
    second: Evaluation

    @property
    def same(self) -> npt.NDArray[np.int64]:
        """Counted pixels of each image with the same label in both models, int64 (N,)."""
        return self.second.tally.same

    @cached_property
    def agreement(self) -> Float64Array:
        """Fraction of counted pixels of each image with the same label in both, float64 (N,); NaN without any pixel."""
        counted = self._counted
        return ratio(self.same.astype(np.float64), counted.astype(np.float64))

    @property
    def label_agreement(self) -> float:
        """The same fraction over all images."""
        total = int(self._counted.sum())
        return int(self.same.sum()) / total if total else float("nan")

    @cached_property
    def differing(self) -> list[int]:
        """The positions in the selection of images with a differing pixel, those with the largest fraction first."""
        order = np.argsort(np.where(self._counted > 0, self.agreement, 1.0), kind="stable")
        return [int(at) for at in order if self.same[at] < self._counted[at]]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as an entry of ``comparisons``, described at the top of the module."""
        return {
            "first": str(self.first.model),
            "second": str(self.second.model),
            "label_agreement": self.label_agreement,
            "images_alike": len(self.same) - len(self.differing),
            "figures": self.figures(),
            "classes": self.classes(),
            "differ_most": [self.image(at) for at in self.differing[:LISTED]],
        }

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the differences of `FIGURES`, with paired intervals."""
        before, after = self._resampled(0)
        return {
            name: self._difference(self.first.figures[name], self.second.figures[name], before[name], after[name])
            for name in FIGURES
        }

    def classes(self) -> list[dict[str, Any]]:
        """Return the differences of each class, with paired intervals."""
        before, after = self._resampled(1)
        rows: list[dict[str, Any]] = []
        for at, name in enumerate(self.first.selection.data.class_names):
            row: dict[str, Any] = {"id": at, "name": name}
            for figure in PER_CLASS:
                first, second = (float(each.class_figures[figure][at]) for each in (self.first, self.second))
                row[figure] = self._difference(first, second, before[figure][..., at], after[figure][..., at])
            rows.append(row)
        return rows

    def image(self, at: int) -> dict[str, Any]:
        """Return the differences between the models on one image of the selection."""
        ranked_by = self.first.ranked_by
        first, second = (float(each.per_image[ranked_by][at]) for each in (self.first, self.second))
        return {
            "index": int(self.first.selection.indices[at]),
            "image": self.first.selection.names[at],
            "label_agreement": float(self.agreement[at]),
            "ranked_by": ranked_by,
            "first": first,
            "second": second,
            "difference": second - first,
        }

    @property
    def _counted(self) -> npt.NDArray[np.int64]:
        counted: npt.NDArray[np.int64] = self.first.tally.counts.truth.sum(axis=1)
        return counted

    def _resampled(self, which: int) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        return self.first.resampled[which], self.second.resampled[which]

    def _difference(self, first: float, second: float, before: Float64Array, after: Float64Array) -> dict[str, Any]:
        """Return both values, their difference, and its interval over resamples (resamples,) of both."""
        result: dict[str, Any] = {"first": first, "second": second, "difference": second - first}
        if len(self.same) < 2:
            return {**result, "interval": None, "verdict": None}
        interval = self.first.bootstrap.interval(after - before)
        better = "better" if interval.low > 0 else "worse"
        return {
            **result,
            "interval": interval.to_list(),
            "verdict": better if interval.excludes_zero else "no difference shown",
        }


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Several models on the same images, each compared with the first.

    Attributes
    ----------
    evaluations
        One per model.
    comparisons
        One for each further model, against the first.
    written
        Files that were also written.
    """

    evaluations: Sequence[Evaluation]
    comparisons: Sequence[Comparison]
    written: Sequence[Path] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, described at the top of the module."""
        models = [each.to_dict() for each in self.evaluations]
        shared = ("data", "split", "data_fingerprint", "images", "convention", "boundary")
        return {
            **{key: models[0][key] for key in shared},
            "models": models,
            "comparisons": [each.to_dict() for each in self.comparisons],
            "intervals": {**self.evaluations[0].bootstrap.describe(), "convention": PAIRED_CONVENTION},
        }
