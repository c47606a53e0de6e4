"""Metrics against scikit-learn, an independent implementation, on arbitrary label maps."""

from __future__ import annotations

import numpy as np
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segtool.runtime.metrics import Scores, confusion_matrix, dice_per_class, iou_per_class


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    classes = draw(st.integers(2, 12))  # scikit-learn warns about a matrix of one class
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=8))
    dtype = draw(st.sampled_from([np.uint8, np.uint16, np.int64]))
    labels = hnp.arrays(dtype, shape, elements=st.integers(0, classes - 1))
    return draw(labels), draw(labels), classes


@given(pairs())
@settings(deadline=None)
def test_everything_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = case
    flat = truth.reshape(-1), prediction.reshape(-1)
    every = list(range(classes))
    matrix = confusion_matrix(truth, prediction, classes)
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(*flat, labels=every))
    options = {"labels": every, "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(dice_per_class(matrix), sklearn.metrics.f1_score(*flat, **options), rtol=1e-12)
    present = np.union1d(*flat)
    iou = sklearn.metrics.jaccard_score(*flat, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(iou_per_class(matrix)[present.astype(int)], iou, rtol=1e-12)
    scores = Scores.from_matrix(matrix, class_names=[str(k) for k in every], background_id=None, images=1)
    np.testing.assert_allclose(scores.pixel_accuracy, sklearn.metrics.accuracy_score(*flat), rtol=1e-12)
    np.testing.assert_allclose(scores.mean_iou, iou.mean(), rtol=1e-12)


@given(pairs())
@settings(deadline=None)
def test_iou_and_dice_determine_each_other(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    matrix = confusion_matrix(*case)
    iou, dice = iou_per_class(matrix), dice_per_class(matrix)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), rtol=1e-12)
    assert ((iou >= 0) & (iou <= 1) | np.isnan(iou)).all()


@given(pairs(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_pixels_does_not_matter(case: tuple[np.ndarray, np.ndarray, int], random: object) -> None:
    truth, prediction, classes = case
    order = np.array(random.sample(range(truth.size), truth.size))
    shuffled = confusion_matrix(truth.reshape(-1)[order], prediction.reshape(-1)[order], classes)
    np.testing.assert_array_equal(shuffled, confusion_matrix(truth, prediction, classes))


@given(pairs(), st.integers(0, 12))
@settings(deadline=None)
def test_ignoring_is_leaving_the_pixels_out(case: tuple[np.ndarray, np.ndarray, int], ignored: int) -> None:
    truth, prediction, classes = case
    kept = truth != ignored
    expected = confusion_matrix(truth[kept], prediction[kept], classes)
    np.testing.assert_array_equal(confusion_matrix(truth, prediction, classes, ignore_id=ignored), expected)


@given(pairs())
@settings(deadline=None)
def test_matrices_of_parts_add_up(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, prediction, classes = case
    half = len(truth) // 2
    parts = [confusion_matrix(truth[s], prediction[s], classes) for s in (slice(None, half), slice(half, None))]
    np.testing.assert_array_equal(sum(parts), confusion_matrix(truth, prediction, classes))
