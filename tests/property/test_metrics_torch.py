"""Metrics against torchmetrics and MONAI, where they are installed: they need PyTorch, which is large.

    pip install torch torchmetrics && pip install --no-deps monai

torchmetrics computes in float32 (it calls ``.float()`` on its integer counts); here that is made ``.double()``, so
that what is compared are the formulas and not the rounding. The tests named "another convention" show where the two
libraries mean something else, as the documentation of `segtool.metrics` lists.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_maps import Pair, pairs

from segtool.metrics import (
    Calibration,
    confusion_matrix,
    count_images,
    dice_per_class,
    frequency_weighted_iou,
    iou_per_class,
)
from segtool.metrics.figures import figures_of_all, figures_per_image

WHY = "needs torch, torchmetrics and monai, which no extra of segtool installs"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch", reason=WHY)
    pytest.importorskip("torchmetrics", reason=WHY)
    pytest.importorskip("monai", reason=WHY)
    from monai.metrics import compute_dice, compute_iou
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_jaccard_index,
    )
    from torchmetrics.functional.segmentation import dice_score
    from torchmetrics.segmentation import MeanIoU

pytestmark = pytest.mark.filterwarnings("ignore")
EXACT = {"rtol": 1e-12, "atol": 1e-12}
some = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _in_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def tensors(pair: Pair) -> tuple[object, object]:
    return torch.tensor(pair.predictions.astype(np.int64)), torch.tensor(pair.truths.astype(np.int64))


def counted(pair: Pair) -> tuple[np.ndarray, object]:
    counts = count_images(pair.truths, pair.predictions, pair.classes, boundary_width=1, ignore_id=pair.ignore_id)
    return counts.matrix, counts


@given(pairs(least_side=1))
@some
def test_torchmetrics_agrees_on_the_data_set(pair: Pair) -> None:
    matrix, counts = counted(pair)
    arguments, options = tensors(pair), {"num_classes": pair.classes, "ignore_index": pair.ignore_id}
    np.testing.assert_array_equal(matrix, multiclass_confusion_matrix(*arguments, **options).numpy())
    figures = figures_of_all(counts, np.ones(pair.classes, bool))[0]
    if not matrix.any():
        assert all(np.isnan(value) for value in figures.values())
        return
    iou, dice = iou_per_class(matrix), dice_per_class(matrix)
    for average, expected in (("macro", figures["mean_iou"]), ("weighted", frequency_weighted_iou(matrix))):
        found = multiclass_jaccard_index(*arguments, **options, average=average)
        np.testing.assert_allclose(expected, found.numpy(), **EXACT)
    per_class = multiclass_jaccard_index(*arguments, **options, average="none").numpy()
    np.testing.assert_allclose(np.nan_to_num(iou), per_class, **EXACT)
    per_class = multiclass_f1_score(*arguments, **options, average="none").numpy()
    np.testing.assert_allclose(np.nan_to_num(dice), per_class, **EXACT)
    macro = multiclass_f1_score(*arguments, **options, average="macro").numpy()
    np.testing.assert_allclose(figures["mean_dice"], macro, **EXACT)
    micro = multiclass_accuracy(*arguments, **options, average="micro").numpy()
    np.testing.assert_allclose(figures["pixel_accuracy"], micro, **EXACT)


def without_ignored(pair: Pair) -> Pair:
    """The segmentation metrics of both libraries want one class a pixel."""
    return Pair(np.where(pair.kept, pair.truths, 0), pair.predictions, pair.classes, None)


def one_hot(labels: np.ndarray, classes: int) -> object:
    return torch.tensor(np.moveaxis(np.eye(classes)[labels], -1, 1))


@given(pairs(least_side=1))
@some
def test_both_agree_image_by_image(pair: Pair) -> None:
    pair = without_ignored(pair)
    matrix, counts = counted(pair)
    figures = figures_per_image(counts, np.ones(pair.classes, bool))
    settings_ = {"num_classes": pair.classes, "input_format": "index"}
    dice = dice_score(*tensors(pair), **settings_, average="macro").numpy()
    np.testing.assert_allclose(figures["mean_dice"], dice, **EXACT)
    whole = dice_score(*tensors(pair), **settings_, average="none", aggregation_level="global").numpy()
    np.testing.assert_allclose(dice_per_class(matrix), whole[0], **EXACT)
    maps = one_hot(pair.predictions, pair.classes), one_hot(pair.truths, pair.classes)
    absent = counts.truth == 0  # there MONAI says NaN, or what its own options say
    for ours, theirs in ((counts.sums().iou(), compute_iou(*maps)), (counts.sums().dice(), compute_dice(*maps))):
        np.testing.assert_allclose(np.where(absent, np.nan, ours), theirs.numpy(), **EXACT)


@given(
    hnp.arrays(np.float64, (30, 4), elements=st.floats(1e-3, 1)),
    hnp.arrays(np.int64, 30, elements=st.sampled_from([0, 1, 2, 3, 255])),
)
@some
def test_torchmetrics_agrees_on_the_calibration_error(scores: np.ndarray, truth: np.ndarray) -> None:
    shares = scores / scores.sum(axis=1, keepdims=True)
    found = Calibration.of(truth, shares.argmax(axis=1), shares.max(axis=1), ignore_id=255).error()
    if (truth == 255).all():
        assert np.isnan(found)
        return
    expected = multiclass_calibration_error(
        torch.tensor(shares), torch.tensor(truth), num_classes=4, n_bins=15, ignore_index=255
    )
    np.testing.assert_allclose(found, expected.numpy(), **EXACT)


def test_another_convention_a_class_in_neither_is_0_in_torchmetrics_and_nan_here() -> None:
    pair = Pair(np.array([[[0, 1]]]), np.array([[[0, 0]]]), 3, None)
    found = multiclass_jaccard_index(*tensors(pair), num_classes=3, average="none")
    assert found.tolist() == [0.5, 0, 0]
    np.testing.assert_array_equal(iou_per_class(counted(pair)[0]), [0.5, 0, np.nan])


def test_another_convention_mean_iou_of_torchmetrics_is_a_mean_over_images() -> None:
    truths = np.array([[[0, 0, 0, 1]], [[0, 1, 1, 1]]])
    pair = Pair(truths, np.zeros_like(truths), 2, None)
    metric = MeanIoU(num_classes=2, input_format="index")
    metric.update(*tensors(pair))
    matrix, counts = counted(pair)
    figures = figures_per_image(counts, np.ones(2, bool))
    assert float(metric.compute()) == pytest.approx(figures["mean_iou"].mean()) == pytest.approx(0.25)
    assert np.mean(iou_per_class(matrix)) == pytest.approx(0.25)  # by chance: see the next one
    other = Pair(truths, truths * 0 + [[[0, 0, 1, 1]]], 2, None)
    metric.reset()
    metric.update(*tensors(other))
    assert float(metric.compute()) != pytest.approx(np.mean(iou_per_class(counted(other)[0])))


def test_another_convention_an_ignored_class_is_dropped_from_torchmetrics_mean() -> None:
    """Where the ignore id is a class (segtool's data sets refuse that), what is predicted as it scores 0 here."""
    pair = Pair(np.array([[[0, 1, 1]]]), np.array([[[0, 1, 0]]]), 2, 0)
    assert float(multiclass_jaccard_index(*tensors(pair), num_classes=2, ignore_index=0)) == 0.5
    np.testing.assert_array_equal(iou_per_class(counted(pair)[0]), [0, 0.5])


def test_another_convention_a_class_that_is_only_predicted_is_nan_in_monai_and_0_here() -> None:
    truth, prediction = np.array([[[0, 0]]]), np.array([[[0, 1]]])
    maps = one_hot(prediction, 2), one_hot(truth, 2)
    np.testing.assert_array_equal(compute_iou(*maps).numpy(), [[0.5, np.nan]])
    np.testing.assert_array_equal(iou_per_class(confusion_matrix(truth, prediction, 2)), [0.5, 0])


def test_another_convention_a_confidence_of_1_is_a_bin_of_its_own_in_torchmetrics() -> None:
    shares = np.array([[1.0, 0.0], [0.95, 0.05]])
    truth = np.array([0, 1])
    theirs = multiclass_calibration_error(torch.tensor(shares), torch.tensor(truth), num_classes=2, n_bins=15)
    ours = Calibration.of(truth, shares.argmax(axis=1), shares.max(axis=1)).error()
    assert float(theirs) == pytest.approx((0 + 0.95) / 2)
    assert ours == pytest.approx(abs(1 - 1.95) / 2)
