"""The figures beside the images are those of segtool.metrics, and nothing else."""

import math

import numpy as np
import pytest

from segtool.data.classes import Classes
from segtool.errors import DataError
from segtool.metrics import Scores, confusion_matrix, row_shares
from segtool.report.confusion import cell_text
from segtool.report.pictures import table_rows

NAMES = ("cat", "dog", "bird", "sky")


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 3], (20, 30)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.3, 3, truth).astype(np.uint8)
    return truth, prediction


def test_rows_equal_the_metric(pair):
    rows = table_rows(*pair, Classes(NAMES, 3))
    scores = Scores.from_matrix(confusion_matrix(*pair, 4), class_names=NAMES, background_id=3, images=1)
    assert [row.class_id for row in rows] == [0, 1, 3, None]
    for row in rows[:-1]:
        assert (row.iou, row.dice) == (scores.iou[row.class_id], scores.dice[row.class_id])
    assert (rows[-1].iou, rows[-1].dice) == (scores.foreground_mean_iou, scores.foreground_mean_dice)


def test_rows_by_hand():
    truth = np.array([[0, 0, 1, 1]])
    prediction = np.array([[0, 1, 1, 2]])
    rows = {row.name: row for row in table_rows(truth, prediction, Classes(NAMES, 0))}
    assert rows["cat"].iou == 1 / 2 and rows["cat"].dice == 2 / 3
    assert rows["dog"].iou == 1 / 3 and rows["dog"].dice == 1 / 2
    assert rows["bird"].iou == 0  # predicted, but not there
    assert "sky" not in rows  # in neither
    assert rows["foreground mean"].iou == pytest.approx(1 / 6)


def test_the_background_comes_last_and_without_one_the_mean_is_over_all(pair):
    assert [row.class_id for row in table_rows(*pair, Classes(NAMES, 0))] == [1, 3, 0, None]
    rows = table_rows(*pair, Classes(NAMES, None))
    assert rows[-1].name == "mean"
    assert rows[-1].iou == pytest.approx(np.mean([row.iou for row in rows[:-1]]))


def test_ignored_pixels_count_nowhere(pair):
    truth, prediction = pair
    wrong = truth != prediction
    rows = table_rows(np.where(wrong, 255, truth), prediction, Classes(NAMES, 3, 255))
    assert all(row.iou == row.dice == 1 for row in rows)


def test_an_image_that_is_all_ignored_has_no_class_and_no_mean():
    rows = table_rows(np.full((4, 4), 255), np.zeros((4, 4), int), Classes(NAMES, 3, 255))
    assert [row.class_id for row in rows] == [None]
    assert math.isnan(rows[0].iou)


def test_ids_without_a_class_are_refused():
    with pytest.raises(DataError):
        table_rows(np.full((2, 2), 4), np.zeros((2, 2), int), Classes(NAMES, 3))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, ""), (float("nan"), ""), (0.0004, "<0.1"), (0.001, "0.1"), (0.5, "50.0"), (0.99995, ">99.9"), (1, "100")],
)
def test_cell_text(share, text):
    assert cell_text(share) == text


def test_rows_of_the_confusion_matrix_add_up_to_one():
    shares = row_shares(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 5]]))
    np.testing.assert_array_equal(shares[0], [0.75, 0.25, 0])
    assert np.isnan(shares[1]).all()
    np.testing.assert_array_equal(shares[2], [0, 0, 1])
