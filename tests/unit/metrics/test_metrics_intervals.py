"""Intervals by the bootstrap, figures of groups of images, and the calibration error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segtool.errors import DataError
from segtool.metrics import (
    Bootstrap,
    Calibration,
    ImageCounts,
    Scores,
    bootstrap,
    calibration,
    confusion_matrix,
    count_images,
    frequency_weighted_iou,
    precision_per_class,
    recall_per_class,
    row_shares,
)
from segtool.metrics.figures import FIGURES, figures_of_all, figures_per_image

RNG = np.random.default_rng(1)
TRUTHS = RNG.integers(0, 4, (9, 8, 8))
PREDICTIONS = np.where(RNG.random(TRUTHS.shape) < 0.7, TRUTHS, 3)
FOREGROUND = np.array([True, True, True, False])


def counted(truths: np.ndarray = TRUTHS, predictions: np.ndarray = PREDICTIONS) -> ImageCounts:
    return count_images(truths, predictions, 4, boundary_width=1)


def scores(truths: np.ndarray, predictions: np.ndarray) -> Scores:
    matrix = confusion_matrix(truths, predictions, 4)
    return Scores.from_matrix(matrix, class_names=tuple("abcd"), background_id=3, images=len(truths))


class TestFigures:
    def test_those_of_all_are_the_scores(self) -> None:
        figures, classes = figures_of_all(counted(), FOREGROUND)
        expected = scores(TRUTHS, PREDICTIONS)
        for name in FIGURES[:6]:
            assert figures[name] == pytest.approx(getattr(expected, name), abs=1e-15)
        np.testing.assert_array_equal(classes["iou"], expected.iou)

    def test_those_of_an_image_are_its_own_scores(self) -> None:
        figures = figures_per_image(counted(), FOREGROUND)
        for at in range(len(TRUTHS)):
            expected = scores(TRUTHS[at : at + 1], PREDICTIONS[at : at + 1])
            for name in FIGURES[:6]:
                assert figures[name][at] == pytest.approx(getattr(expected, name), abs=1e-15)

    def test_an_image_without_foreground_has_no_foreground_mean(self) -> None:
        empty = np.full((1, 4, 4), 3)
        figures = figures_per_image(counted(empty, empty), FOREGROUND)
        assert figures["mean_iou"] == [1.0]
        assert np.isnan(figures["foreground_mean_iou"]).all()

    def test_frequency_weighted_iou_by_hand(self) -> None:
        matrix = np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
        assert frequency_weighted_iou(matrix) == pytest.approx(0.8 * 6 / 8 + 0.2 * 2 / 4)
        assert math.isnan(frequency_weighted_iou(np.zeros((2, 2), int)))

    def test_a_class_that_is_only_predicted_has_no_weight(self) -> None:
        assert frequency_weighted_iou(np.array([[3, 1], [0, 0]])) == 3 / 4

    def test_precision_recall_and_shares_of_rows(self) -> None:
        matrix = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]])
        np.testing.assert_array_equal(precision_per_class(matrix), [3 / 5, 0, 1])
        np.testing.assert_array_equal(recall_per_class(matrix), [3 / 4, np.nan, 1 / 2])
        np.testing.assert_array_equal(row_shares(matrix), [[0.75, 0.25, 0], [np.nan] * 3, [0.5, 0, 0.5]])


class TestBootstrap:
    def test_each_resample_is_scored_like_the_images_it_drew(self) -> None:
        figures, classes = Bootstrap(resamples=20, seed=5).figures(counted(), FOREGROUND)
        drawn = np.random.default_rng(5).integers(0, 9, (20, 9))
        for at, chosen in enumerate(drawn):
            expected = scores(TRUTHS[chosen], PREDICTIONS[chosen])
            assert figures["foreground_mean_dice"][at] == pytest.approx(expected.foreground_mean_dice, abs=1e-15)
            assert figures["pixel_accuracy"][at] == pytest.approx(expected.pixel_accuracy, abs=1e-15)
            np.testing.assert_allclose(classes["iou"][at], expected.iou, rtol=1e-14)

    def test_the_ends_are_the_quantiles(self) -> None:
        interval = Bootstrap(level=0.9).interval(np.arange(101.0))
        assert (interval.low, interval.high) == (pytest.approx(5), pytest.approx(95))
        assert interval.excludes_zero
        assert not Bootstrap().interval(np.arange(-50.0, 51)).excludes_zero

    def test_nan_is_left_out_and_nothing_but_nan_is_nan(self) -> None:
        assert Bootstrap().interval(np.array([np.nan, 2.0, 2.0])).to_list() == [2, 2]
        assert math.isnan(Bootstrap().interval(np.full(3, np.nan)).low)

    def test_the_same_seed_gives_the_same_and_another_not(self) -> None:
        one, two, other = (Bootstrap(50, seed=seed).figures(counted(), FOREGROUND)[0]["mean_iou"] for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, two)
        assert (one != other).any()

    def test_little_memory_gives_as_many_resamples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "_DRAWS", 9 * 7)
        assert Bootstrap(50).figures(counted(), FOREGROUND)[0]["mean_iou"].shape == (50,)

    def test_the_interval_holds_the_mean_of_a_known_distribution_as_often_as_it_says(self) -> None:
        """Images that are wholly right with probability 0.7: 200 data sets, intervals of level 0.9."""
        rng, hits = np.random.default_rng(0), 0
        for seed in range(200):
            right = rng.random(60) < 0.7
            truths = np.zeros((60, 1, 1), int)
            found = count_images(truths, np.where(right, 0, 1)[:, None, None], 2, boundary_width=1)
            settings = Bootstrap(200, 0.9, seed)
            interval = settings.interval(settings.figures(found, np.ones(2, bool))[0]["pixel_accuracy"])
            hits += interval.low <= 0.7 <= interval.high
        assert 0.83 < hits / 200 < 0.96

    @pytest.mark.parametrize(("resamples", "level"), [(0, 0.95), (10, 0.0), (10, 1.0)])
    def test_what_makes_no_interval_is_refused(self, resamples: int, level: float) -> None:
        with pytest.raises(DataError, match="is not possible"):
            Bootstrap(resamples, level)


class TestCalibration:
    def test_by_hand(self) -> None:
        truth = np.array([0, 0, 1, 1])
        prediction = np.array([0, 1, 1, 1])
        found = Calibration.of(truth, prediction, np.array([0.95, 0.95, 0.55, 1.0], np.float64))
        # the last bin: 3 pixels, 2 right, mean confidence 2.9 / 3; the bin of 0.55: 1 pixel, right
        assert found.error() == pytest.approx((abs(2 - 2.9) + abs(1 - 0.55)) / 4)
        assert found.pixels[-1] == 3

    def test_a_bin_begins_at_its_lower_edge(self) -> None:
        found = Calibration.of(np.zeros(3, int), np.zeros(3, int), np.array([0.2, np.nextafter(0.2, 0), 0.0]))
        assert found.pixels.tolist()[:4] == [1, 0, 1, 1]

    def test_images_add_up_and_ignored_pixels_count_nowhere(self) -> None:
        truth, confidence = RNG.integers(0, 3, (4, 5)), RNG.random((4, 5))
        truth[0] = 255
        prediction = RNG.integers(0, 3, (4, 5))
        whole = Calibration.of(truth, prediction, confidence, ignore_id=255)
        parts = [Calibration.of(truth[s], prediction[s], confidence[s], ignore_id=255) for s in (slice(2), slice(2, 4))]
        assert (parts[0] + parts[1]).error() == pytest.approx(whole.error(), abs=1e-15)
        assert whole.pixels.sum() == 15

    def test_many_pixels_are_counted_block_by_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        truth, prediction, confidence = RNG.integers(0, 3, (5, 7)), RNG.integers(0, 3, (5, 7)), RNG.random((5, 7))
        whole = Calibration.of(truth, prediction, confidence, ignore_id=2)
        monkeypatch.setattr(calibration, "_BLOCK", 4)
        parts = Calibration.of(truth, prediction, confidence, ignore_id=2)
        np.testing.assert_array_equal(parts.hits, whole.hits)
        np.testing.assert_allclose(parts.confidence, whole.confidence, rtol=1e-14)

    def test_no_pixel_has_no_error(self) -> None:
        assert math.isnan(Calibration.of(np.empty(0, int), np.empty(0, int), np.empty(0)).error())

    def test_perfectly_calibrated(self) -> None:
        truth = np.array([0] * 3 + [1])
        assert Calibration.of(truth, np.zeros(4, int), np.full(4, 0.75)).error() == 0

    @pytest.mark.parametrize("wrong", [-0.1, 1.2, np.nan, np.inf])
    def test_what_is_no_probability_is_refused(self, wrong: float) -> None:
        with pytest.raises(DataError, match=r"expected probabilities in 0\.\.1"):
            Calibration.of(np.zeros(2, int), np.zeros(2, int), np.array([0.5, wrong]))

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(DataError, match="expected the same"):
            Calibration.of(np.zeros(2, int), np.zeros(2, int), np.zeros(3))
