"""Counting image by image: against one confusion matrix an image, and an erosion for the boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segtool.errors import DataError
from segtool.metrics import boundary_band, confusion_matrix, count_images, default_width, images

RNG = np.random.default_rng(0)


def blobs(count: int, height: int, width: int, classes: int) -> np.ndarray:
    """Label maps of blocks of 3 x 3 equal pixels, so that there are insides as well as outlines."""
    cells = RNG.integers(0, classes, (count, -(-height // 3), -(-width // 3)))
    return np.kron(cells, np.ones((1, 3, 3), int))[:, :height, :width].astype(np.uint8)


def reference_band(labels: np.ndarray, width: int) -> np.ndarray:
    """The boundary as the authors of boundary IoU compute it: a mask less its erosion, beyond the image is nothing."""
    band = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        mask = labels == label
        band |= mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    return band


class TestBoundaryBand:
    @pytest.mark.parametrize("width", [1, 2, 3, 5])
    @pytest.mark.parametrize("size", [(17, 23), (11, 12), (7, 30), (3, 3), (1, 9), (40, 1)])
    def test_it_is_what_erosion_takes_away(self, size: tuple[int, int], width: int) -> None:
        labels = blobs(1, *size, 3)[0]
        labels[size[0] // 2 :, size[1] // 3 :] = 1  # something with an inside
        np.testing.assert_array_equal(boundary_band(labels, width), reference_band(labels, width))

    def test_images_of_a_stack_do_not_see_each_other(self) -> None:
        stack = blobs(4, 14, 11, 3)
        np.testing.assert_array_equal(boundary_band(stack, 2), np.stack([boundary_band(one, 2) for one in stack]))

    def test_by_hand(self) -> None:
        labels = np.zeros((5, 7), int)
        labels[2, 5] = 1
        expected = np.ones((5, 7), bool)
        expected[1:4, 1:4] = False  # columns 4 to 6 see the pixel or the edge
        np.testing.assert_array_equal(boundary_band(labels, 1), expected)

    def test_a_width_below_one_is_refused(self) -> None:
        with pytest.raises(DataError, match="width is 0 pixels"):
            boundary_band(np.zeros((3, 3), int), 0)

    @pytest.mark.parametrize(("size", "width"), [((64, 84), 2), ((1024, 1024), 29), ((8, 8), 1), ((480, 640), 16)])
    def test_the_default_width_is_two_percent_of_the_diagonal(self, size: tuple[int, int], width: int) -> None:
        assert default_width(*size) == width


class TestCountImages:
    def test_the_matrix_and_the_sums_of_each_image(self) -> None:
        truths, predictions = blobs(5, 13, 10, 4), blobs(5, 13, 10, 4)
        counts = count_images(truths, predictions, 4, boundary_width=1)
        np.testing.assert_array_equal(counts.matrix, confusion_matrix(truths, predictions, 4))
        for at, pair in enumerate(zip(truths, predictions, strict=True)):
            matrix = confusion_matrix(*pair, 4)
            np.testing.assert_array_equal(counts.hits[at], np.diagonal(matrix))
            np.testing.assert_array_equal(counts.truth[at], matrix.sum(axis=1))
            np.testing.assert_array_equal(counts.prediction[at], matrix.sum(axis=0))

    def test_the_boundary_counts_the_pixels_of_each_map_near_its_own_outlines(self) -> None:
        truths, predictions = blobs(3, 20, 20, 2), blobs(3, 20, 20, 2)
        truths[:, 2:15, 2:15] = 1
        counts = count_images(truths, predictions, 2, boundary_width=2)
        for at, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
            in_truth, in_prediction = reference_band(truth, 2), reference_band(prediction, 2)
            for k in range(2):
                mine, theirs = in_truth & (truth == k), in_prediction & (prediction == k)
                assert counts.boundary_truth[at, k] == mine.sum()
                assert counts.boundary_prediction[at, k] == theirs.sum()
                assert counts.boundary_hits[at, k] == (mine & theirs).sum()

    def test_what_is_predicted_on_ignored_pixels_does_not_matter(self) -> None:
        truths, predictions = blobs(2, 12, 12, 3), blobs(2, 12, 12, 3)
        truths[:, 4:7, 3:9] = 255
        other = np.where(truths == 255, 77, predictions)  # 77 is no class at all
        one, two = (count_images(truths, each, 3, boundary_width=1, ignore_id=255) for each in (predictions, other))
        for name in ("matrix", "boundary_hits", "boundary_truth", "boundary_prediction"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert one.truth.sum() == (truths != 255).sum()

    def test_ignored_pixels_are_an_edge_in_both_maps(self) -> None:
        truths = np.zeros((1, 9, 9), np.uint8)
        truths[0, 4, 4] = 255
        counts = count_images(truths, np.zeros_like(truths), 2, boundary_width=1, ignore_id=255)
        # 32 pixels on the edge of the image, 8 around the ignored one, the same in both
        assert counts.boundary_truth[0, 0] == counts.boundary_prediction[0, 0] == counts.boundary_hits[0, 0] == 40

    def test_signed_truths_and_unsigned_predictions_of_64_bits(self) -> None:
        truths = np.array([[[0, 1, 300]]], np.int64)
        counts = count_images(truths, np.array([[[0, 0, 1]]], np.uint64), 200, boundary_width=1, ignore_id=300)
        assert counts.matrix[:2, :2].tolist() == [[1, 0], [1, 0]]

    @pytest.mark.parametrize("classes", [127, 128, 129, 300])
    def test_very_many_classes(self, classes: int) -> None:
        truths = RNG.integers(0, classes, (3, 9, 11)).astype(np.uint16)
        predictions = np.where(RNG.random(truths.shape) < 0.5, truths, classes - 1)
        truths[1, :4] = 60000
        counts = count_images(truths, predictions, classes, boundary_width=1, ignore_id=60000)
        np.testing.assert_array_equal(counts.matrix, confusion_matrix(truths, predictions, classes, ignore_id=60000))
        kept = truths[1] != 60000
        np.testing.assert_array_equal(counts.truth[1], np.bincount(truths[1][kept], minlength=classes))
        np.testing.assert_array_equal(counts.boundary_truth.sum(), (truths != 60000).sum())  # noise is all outline

    @pytest.mark.parametrize("ignored", [None, 255])
    def test_bands_of_rows_give_what_the_whole_image_gives(
        self, ignored: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        truths, predictions = blobs(2, 61, 19, 3), blobs(2, 61, 19, 3)
        truths[:, 20:50, 3:15] = predictions[:, 15:55, 2:16] = 2
        truths[0, 30:33] = 255 if ignored else 0
        whole = count_images(truths, predictions, 3, boundary_width=3, ignore_id=ignored)
        monkeypatch.setattr(images, "_BLOCK", 19)
        parts = count_images(truths, predictions, 3, boundary_width=3, ignore_id=ignored)
        for name in ("matrix", "hits", "boundary_hits", "boundary_truth", "boundary_prediction"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))

    @pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 5), (2, 5, 0)])
    def test_nothing_at_all(self, shape: tuple[int, ...]) -> None:
        counts = count_images(np.zeros(shape, int), np.zeros(shape, int), 3, boundary_width=1)
        assert len(counts) == shape[0]
        assert counts.matrix.sum() == counts.hits.sum() == 0

    def test_everything_ignored(self) -> None:
        counts = count_images(np.full((1, 3, 3), 9), np.zeros((1, 3, 3), int), 200, boundary_width=1, ignore_id=9 + 200)
        assert counts.matrix.sum() == 9  # 9 is a class here
        counts = count_images(np.full((1, 3, 3), 255), np.zeros((1, 3, 3), int), 200, boundary_width=1, ignore_id=255)
        assert counts.matrix.sum() == 0

    @pytest.mark.parametrize(
        ("truths", "predictions", "message"),
        [
            (np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int), "expected the same"),
            (np.zeros((2, 2), int), np.zeros((2, 2), int), "a stack"),
            (np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int), "float64"),
            (np.full((1, 2, 2), 3), np.zeros((1, 2, 2), int), "truth contains the id 3"),
            (np.zeros((1, 2, 2), int), np.full((1, 2, 2), -1), "prediction contains the id -1"),
            (np.full((1, 2, 2), 300), np.zeros((1, 2, 2), int), "truth contains the id 300"),
        ],
    )
    def test_bad_input_is_refused_in_a_sentence(
        self, truths: np.ndarray, predictions: np.ndarray, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            count_images(truths, predictions, 3, boundary_width=1)

    def test_joining_nothing_is_refused(self) -> None:
        with pytest.raises(DataError, match="no images"):
            images.ImageCounts.joined([])
