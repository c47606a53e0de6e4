"""The figures of a picture are those of segtool.metrics, and cells of the matrix are neither 0 nor 100 by rounding."""

import numpy as np
import pytest

from segtool.data.classes import Classes
from segtool.errors import DataError
from segtool.metrics import row_shares
from segtool.report.page.render import cell_text, span
from segtool.report.pictures import scores_of

NAMES = ("cat", "dog", "bird", "sky")


def test_ignored_pixels_count_nowhere():
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 3], (20, 30)).astype(np.uint8)
    wrong = rng.random(truth.shape) < 0.3
    scores = scores_of(np.where(wrong, 255, truth), np.where(wrong, 2, truth), Classes(NAMES, 3, 255))
    np.testing.assert_array_equal(scores.iou, [1, 1, np.nan, 1])
    assert scores.foreground_mean_dice == 1


def test_an_image_that_is_all_ignored_has_no_class_and_no_mean():
    scores = scores_of(np.full((4, 4), 255), np.zeros((4, 4), int), Classes(NAMES, 3, 255))
    assert np.isnan([*scores.iou, scores.foreground_mean_iou]).all()


def test_ids_without_a_class_are_refused():
    with pytest.raises(DataError):
        scores_of(np.full((2, 2), 4), np.zeros((2, 2), int), Classes(NAMES, 3))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, ""), (0.0004, "<0.1"), (0.001, "0.1"), (0.5, "50.0"), (0.99995, ">99.9"), (1, "100")],
)
def test_cell_text(share, text):
    assert cell_text(share) == text


def test_rows_of_the_confusion_matrix_add_up_to_one():
    shares = row_shares(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 5]]))
    np.testing.assert_array_equal(shares[0], [0.75, 0.25, 0])
    assert np.isnan(shares[1]).all()
    np.testing.assert_array_equal(shares[2], [0, 0, 1])


def test_an_interval_is_rounded_like_the_figure_in_it():
    assert span((99.995, 100)) == "99.99 to 100"
