"""Metrics against values worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from segtool.errors import DataError
from segtool.files import nan_to_none
from segtool.metrics import CONVENTION, Scores, confusion_matrix, counting, dice_per_class, iou_per_class

TRUTH = np.array([[0, 0, 1], [1, 1, 2]], np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 2, 2]], np.uint8)
MATRIX = np.array([[1, 1, 0], [0, 2, 1], [0, 0, 1]])


class TestConfusionMatrix:
    def test_rows_are_the_truth(self) -> None:
        matrix = confusion_matrix(TRUTH, PREDICTION, 3)
        np.testing.assert_array_equal(matrix, MATRIX)
        assert matrix.dtype == np.int64

    def test_swapping_the_two_transposes_it(self) -> None:
        np.testing.assert_array_equal(confusion_matrix(PREDICTION, TRUTH, 3), MATRIX.T)

    def test_ignored_pixels_count_nowhere_whatever_was_predicted(self) -> None:
        truth = np.array([0, 255, 255, 1], np.uint8)
        prediction = np.array([0, 1, 77, 1], np.uint8)
        np.testing.assert_array_equal(confusion_matrix(truth, prediction, 2, ignore_id=255), [[1, 0], [0, 1]])

    def test_everything_ignored_or_nothing_at_all(self) -> None:
        assert confusion_matrix(np.full(4, 9), np.zeros(4, int), 2, ignore_id=9).sum() == 0
        assert confusion_matrix(np.empty(0, int), np.empty(0, int), 2).shape == (2, 2)

    @pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, np.uint64])
    def test_every_integer_dtype(self, dtype: type) -> None:
        np.testing.assert_array_equal(confusion_matrix(TRUTH.astype(dtype), PREDICTION, 3), MATRIX)

    def test_bool(self) -> None:
        matrix = confusion_matrix(np.array([True, False]), np.array([True, True]), 2)
        np.testing.assert_array_equal(matrix, [[0, 1], [0, 1]])

    @pytest.mark.parametrize("classes", [256, 257, 300])
    def test_around_the_border_of_sixteen_bit_codes(self, classes: int) -> None:
        last = np.full(3, classes - 1)
        matrix = confusion_matrix(last, last, classes)
        assert matrix[-1, -1] == matrix.sum() == 3

    def test_more_pixels_than_a_block(self) -> None:
        truth = np.tile(np.arange(4), counting._BLOCK)
        matrix = confusion_matrix(truth, truth[::-1], 4)
        np.testing.assert_array_equal(matrix, np.eye(4)[::-1] * counting._BLOCK)

    @pytest.mark.parametrize(
        ("truth", "prediction", "message"),
        [
            ([0, 3], [0, 0], "truth contains the id 3"),
            ([0, 0], [0, 3], "prediction contains the id 3"),
            ([0, -1], [0, 0], "truth contains the id -1"),
            ([0, 0], [-2, 0], "prediction contains the id -2"),
        ],
    )
    def test_ids_out_of_range_are_refused(self, truth: list[int], prediction: list[int], message: str) -> None:
        with pytest.raises(DataError, match=message):
            confusion_matrix(np.array(truth), np.array(prediction), 3)

    def test_other_shapes_and_dtypes_are_refused(self) -> None:
        with pytest.raises(DataError, match="shape"):
            confusion_matrix(TRUTH, PREDICTION[:1], 3)
        with pytest.raises(DataError, match="float64"):
            confusion_matrix(TRUTH.astype(float), PREDICTION, 3)
        with pytest.raises(DataError, match="number of classes is 0"):
            confusion_matrix(TRUTH, PREDICTION, 0)


class TestPerClass:
    def test_iou(self) -> None:
        np.testing.assert_array_equal(iou_per_class(MATRIX), [1 / 2, 2 / 4, 1 / 2])

    def test_dice(self) -> None:
        np.testing.assert_array_equal(dice_per_class(MATRIX), [2 / 3, 4 / 6, 2 / 3])

    def test_a_class_in_neither_is_nan_and_one_only_predicted_is_zero(self) -> None:
        matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]])
        for scores in (iou_per_class(matrix), dice_per_class(matrix)):
            assert scores[1] == 0
            assert np.isnan(scores[2])

    def test_smoothing_is_in_the_denominator(self) -> None:
        np.testing.assert_array_equal(iou_per_class(MATRIX, smoothing=1.0), [1 / 3, 2 / 5, 1 / 3])
        np.testing.assert_array_equal(dice_per_class(MATRIX, smoothing=1.0), [2 / 4, 4 / 7, 2 / 4])

    def test_counts_beyond_32_bits(self) -> None:
        np.testing.assert_allclose(iou_per_class(MATRIX * 10**12), iou_per_class(MATRIX), rtol=1e-15)


class TestScores:
    def scores(self, matrix: np.ndarray = MATRIX, background_id: int | None = 0) -> Scores:
        return Scores.from_matrix(matrix, class_names=("back", "one", "two"), background_id=background_id, images=1)

    def test_means(self) -> None:
        matrix = np.array([[80, 10, 0], [0, 10, 0], [0, 5, 5]])
        iou = [80 / 90, 10 / 25, 5 / 10]
        dice = [160 / 170, 20 / 35, 10 / 15]
        scores = self.scores(matrix)
        assert scores.pixel_accuracy == 95 / 110
        assert scores.mean_iou == pytest.approx(np.mean(iou), abs=1e-15)
        assert scores.mean_dice == pytest.approx(np.mean(dice), abs=1e-15)
        assert scores.foreground_mean_iou == pytest.approx(np.mean(iou[1:]), abs=1e-15)
        assert scores.foreground_mean_dice == pytest.approx(np.mean(dice[1:]), abs=1e-15)
        np.testing.assert_array_equal(scores.support, [90, 10, 10])

    def test_without_a_background_all_is_foreground(self) -> None:
        scores = self.scores(background_id=None)
        assert scores.foreground_mean_iou == scores.mean_iou

    def test_the_background_may_be_the_last_class(self) -> None:
        scores = self.scores(background_id=2)
        assert scores.foreground_mean_dice == pytest.approx((2 / 3 + 4 / 6) / 2)

    def test_absent_classes_are_left_out_of_means(self) -> None:
        scores = self.scores(np.diag([4, 2, 0]))
        assert scores.mean_iou == scores.foreground_mean_iou == 1

    def test_only_background_has_no_foreground_mean(self) -> None:
        scores = self.scores(np.diag([4, 0, 0]))
        assert scores.mean_dice == 1
        assert math.isnan(scores.foreground_mean_dice)

    def test_no_pixels_at_all(self) -> None:
        scores = self.scores(np.zeros((3, 3), np.int64))
        assert math.isnan(scores.pixel_accuracy)
        assert math.isnan(scores.mean_iou)

    def test_to_dict_has_the_keys_of_the_command_line(self) -> None:
        values = self.scores().to_dict()
        assert list(values) == [
            "pixel_accuracy",
            "mean_iou",
            "mean_dice",
            "foreground_mean_iou",
            "foreground_mean_dice",
            "frequency_weighted_iou",
            "classes",
            "images",
            "convention",
            "confusion_matrix",
        ]
        assert values["classes"][1] == {"id": 1, "name": "one", "iou": 0.5, "dice": 4 / 6, "support": 3}
        assert values["convention"] == CONVENTION
        json.dumps(nan_to_none(values), allow_nan=False)

    def test_nan_stays_nan_until_it_is_written(self) -> None:
        values = self.scores(np.diag([4, 2, 0])).to_dict()
        assert math.isnan(values["classes"][2]["iou"])
        assert nan_to_none(values)["classes"][2]["iou"] is None

    def test_names_that_do_not_fit_the_matrix(self) -> None:
        with pytest.raises(DataError, match="class names"):
            Scores.from_matrix(MATRIX, class_names=("a",), background_id=None, images=1)
