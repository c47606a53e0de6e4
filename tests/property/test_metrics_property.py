"""Metrics against scikit-learn and SciPy, independent implementations, on arbitrary label maps."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_maps import Pair, pairs
from scipy import ndimage

from segtool.metrics import (
    Calibration,
    Scores,
    confusion_matrix,
    count_images,
    dice_per_class,
    frequency_weighted_iou,
    iou_per_class,
    precision_per_class,
    recall_per_class,
)
from segtool.metrics.figures import figures_of_all, figures_per_image

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def flat(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The pixels that count, as scikit-learn wants them: it knows no ignored ones."""
    return pair.truths[pair.kept].astype(int), pair.predictions[pair.kept].astype(int)


def matrix_of(pair: Pair) -> np.ndarray:
    return confusion_matrix(pair.truths, pair.predictions, pair.classes, ignore_id=pair.ignore_id)


@given(pairs())
def test_everything_agrees_with_scikit_learn(pair: Pair) -> None:
    truth, prediction = flat(pair)
    every = list(range(pair.classes))
    matrix = matrix_of(pair)
    if not truth.size:  # scikit-learn refuses no pixels at all
        assert matrix.sum() == 0
        return
    np.testing.assert_array_equal(matrix, sklearn.metrics.confusion_matrix(truth, prediction, labels=every))
    options = {"labels": every, "average": None, "zero_division": np.nan}
    for ours, theirs in (
        (dice_per_class, sklearn.metrics.f1_score),
        (precision_per_class, sklearn.metrics.precision_score),
        (recall_per_class, sklearn.metrics.recall_score),
    ):
        np.testing.assert_allclose(ours(matrix), theirs(truth, prediction, **options), **EXACT)
    present = np.union1d(truth, prediction)
    only = {"labels": present, "zero_division": 0}
    iou = sklearn.metrics.jaccard_score(truth, prediction, average=None, **only)
    np.testing.assert_allclose(iou_per_class(matrix)[present], iou, **EXACT)
    assert np.isnan(np.delete(iou_per_class(matrix), present)).all()
    weighted = sklearn.metrics.jaccard_score(truth, prediction, average="weighted", **only)
    np.testing.assert_allclose(frequency_weighted_iou(matrix), weighted, **EXACT)
    scores = Scores.from_matrix(matrix, class_names=[str(k) for k in every], background_id=None, images=1)
    np.testing.assert_allclose(scores.pixel_accuracy, sklearn.metrics.accuracy_score(truth, prediction), **EXACT)
    np.testing.assert_allclose(scores.mean_iou, iou.mean(), **EXACT)


@given(pairs(), st.integers(0, 11))
def test_foreground_means_are_scikit_learns_without_the_background(pair: Pair, background: int) -> None:
    truth, prediction = flat(pair)
    foreground = [k for k in np.union1d(truth, prediction) if k != background]
    sums = count_images(pair.truths, pair.predictions, pair.classes, boundary_width=1, ignore_id=pair.ignore_id)
    figures = figures_of_all(sums, np.arange(pair.classes) != background)[0]
    if not foreground:
        assert np.isnan(figures["foreground_mean_iou"])
        return
    options = {"labels": foreground, "average": "macro", "zero_division": 0}
    iou = sklearn.metrics.jaccard_score(truth, prediction, **options)
    dice = sklearn.metrics.f1_score(truth, prediction, **options)
    np.testing.assert_allclose(figures["foreground_mean_iou"], iou, **EXACT)
    np.testing.assert_allclose(figures["foreground_mean_dice"], dice, **EXACT)


@given(pairs(), st.integers(1, 4))
def test_counting_image_by_image_agrees_with_each_image_by_itself(pair: Pair, width: int) -> None:
    counts = count_images(pair.truths, pair.predictions, pair.classes, boundary_width=width, ignore_id=pair.ignore_id)
    np.testing.assert_array_equal(counts.matrix, matrix_of(pair))
    figures = figures_per_image(counts, np.ones(pair.classes, bool))
    for at in range(len(pair.truths)):
        one = Pair(pair.truths[at], pair.predictions[at], pair.classes, pair.ignore_id)
        matrix = matrix_of(one)
        np.testing.assert_array_equal(counts.hits[at], np.diagonal(matrix))
        iou = iou_per_class(matrix)
        expected = np.mean(iou[~np.isnan(iou)]) if matrix.any() else np.nan
        np.testing.assert_allclose(figures["mean_iou"][at], expected, **EXACT)


@given(pairs(), st.integers(1, 4))
def test_boundary_iou_is_that_of_eroded_masks(pair: Pair, width: int) -> None:
    """Pixel by pixel and class by class, as the metric's authors have it: each mask less its erosion."""
    counts = count_images(pair.truths, pair.predictions, pair.classes, boundary_width=width, ignore_id=pair.ignore_id)
    either, both = np.zeros(pair.classes), np.zeros(pair.classes)
    for truth, prediction, kept in zip(pair.truths, pair.predictions, pair.kept, strict=True):
        for k in range(pair.classes):
            near = [rim((labels == k) & kept, width) for labels in (truth, prediction)]
            both[k] += (near[0] & near[1]).sum()
            either[k] += (near[0] | near[1]).sum()
    expected = np.divide(both, either, out=np.full(pair.classes, np.nan), where=either > 0)
    found = figures_of_all(counts, np.ones(pair.classes, bool))[1]["boundary_iou"]
    np.testing.assert_allclose(found, expected, **EXACT)


def rim(mask: np.ndarray, width: int) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)


@given(
    hnp.arrays(np.float64, 40, elements=st.floats(0, 1)),
    hnp.arrays(np.int64, 40, elements=st.integers(0, 3)),
    hnp.arrays(np.int64, 40, elements=st.integers(0, 2)),
)
def test_the_calibration_error_is_what_a_loop_over_pixels_gives(
    confidence: np.ndarray, truth: np.ndarray, prediction: np.ndarray
) -> None:
    bins: dict[int, list[tuple[bool, float]]] = {}
    edges = np.linspace(0, 1, 16)
    for value, true, predicted in zip(confidence, truth, prediction, strict=True):
        if true != 3:
            at = max(k for k in range(15) if edges[k] <= value)
            bins.setdefault(at, []).append((true == predicted, value))
    total = sum(map(len, bins.values()))
    expected = sum(abs(sum(hit for hit, _ in rows) - sum(value for _, value in rows)) for rows in bins.values())
    found = Calibration.of(truth, prediction, confidence, ignore_id=3).error()
    if total:
        assert found == pytest.approx(expected / total, abs=1e-12)
    else:
        assert np.isnan(found)


@given(pairs(most_classes=6))
def test_iou_and_dice_determine_each_other(pair: Pair) -> None:
    iou, dice = iou_per_class(matrix_of(pair)), dice_per_class(matrix_of(pair))
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), rtol=1e-12)
    assert ((iou >= 0) & (iou <= 1) | np.isnan(iou)).all()


@given(pairs(), st.randoms(use_true_random=False))
def test_the_order_of_the_pixels_does_not_matter(pair: Pair, random: object) -> None:
    order = np.array(random.sample(range(pair.truths.size), pair.truths.size), int)
    shuffled = [labels.reshape(-1)[order] for labels in (pair.truths, pair.predictions)]
    np.testing.assert_array_equal(confusion_matrix(*shuffled, pair.classes, ignore_id=pair.ignore_id), matrix_of(pair))


@given(pairs(least_side=1), st.integers(0, 12))
def test_ignoring_is_leaving_the_pixels_out(pair: Pair, ignored: int) -> None:
    valid = np.where(pair.kept, pair.truths, 0)
    kept = valid != ignored
    expected = confusion_matrix(valid[kept], pair.predictions[kept], pair.classes)
    found = confusion_matrix(valid, pair.predictions, pair.classes, ignore_id=ignored)
    np.testing.assert_array_equal(found, expected)


@given(pairs())
def test_matrices_of_parts_add_up(pair: Pair) -> None:
    parts = [
        Pair(pair.truths[s], pair.predictions[s], pair.classes, pair.ignore_id) for s in (slice(1), slice(1, None))
    ]
    np.testing.assert_array_equal(sum(map(matrix_of, parts)), matrix_of(pair))


@pytest.mark.filterwarnings("ignore:Jaccard is ill-defined")
def test_where_scikit_learn_has_another_convention() -> None:
    """A class in neither truth nor prediction: left out here, 0 (or zero_division) in its macro mean there."""
    truth, prediction = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    matrix = confusion_matrix(truth, prediction, 3)
    scores = Scores.from_matrix(matrix, class_names=tuple("abc"), background_id=None, images=1)
    every = {"labels": [0, 1, 2], "average": "macro"}
    assert scores.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert sklearn.metrics.jaccard_score(truth, prediction, **every) == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert sklearn.metrics.jaccard_score(truth, prediction, **every, zero_division=1) > scores.mean_iou
    assert sklearn.metrics.f1_score(truth, prediction, **every, zero_division=np.nan) == scores.mean_dice
