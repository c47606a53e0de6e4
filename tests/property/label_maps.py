"""Arbitrary pairs of label maps, for the tests of metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@dataclass(frozen=True)
class Pair:
    """Truths and predictions (N, H, W), how many classes there are, and which truth is ignored."""

    truths: np.ndarray
    predictions: np.ndarray
    classes: int
    ignore_id: int | None

    @property
    def kept(self) -> np.ndarray:
        """Which pixels count."""
        return np.ones(self.truths.shape, bool) if self.ignore_id is None else self.truths != self.ignore_id


@st.composite
def pairs(draw: st.DrawFn, *, least_side: int = 0, most_classes: int = 12) -> Pair:
    """Stacks of up to four images, some of them empty, with absent classes and ignored pixels."""
    classes = draw(st.integers(2, most_classes))
    shape = (draw(st.integers(1, 4)), *(draw(st.integers(least_side, 9)) for _ in range(2)))
    ignore_id = draw(st.sampled_from([None, None, 255, classes, 60000]))
    truth_type = np.uint16 if ignore_id == 60000 else draw(st.sampled_from([np.uint8, np.uint16, np.int64]))
    ids = st.integers(0, draw(st.integers(0, classes - 1)))  # often not all of the classes
    with_ignored = ids if ignore_id is None else st.one_of(ids, ids, st.just(ignore_id))
    truths = draw(hnp.arrays(truth_type, shape, elements=with_ignored))
    predictions = draw(hnp.arrays(draw(st.sampled_from([np.uint8, np.int64])), shape, elements=ids))
    return Pair(truths, predictions, classes, ignore_id)
