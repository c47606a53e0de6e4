"""Scoring a predictor on a data set."""

import numpy as np
import pytest
from PIL import Image

from segtool.data.array_dataset import ArrayDataset
from segtool.data.classes import Classes
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.evaluate.scoring import Scored, evaluate_labels, tally

# The images are their own truth: pixel value = class id.
TRUTH = np.random.default_rng(0).integers(0, 3, (7, 6, 8)).astype(np.uint8)


@pytest.fixture
def data():
    return ArrayDataset(TRUTH[..., None], TRUTH, classes=Classes(("a", "b", "c"), background_id=0, ignore_id=255))


def perfect(images):
    return images[..., 0]


def wrong_at_one(images):
    return np.where(images[..., 0] == 1, 2, images[..., 0])


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_scores_do_not_depend_on_the_batch(data, batch):
    sizes = []

    def predict(images):
        sizes.append(len(images))
        return wrong_at_one(images)

    scores = evaluate_labels(predict, data, np.arange(7), size=(6, 8), batch=batch)
    ones, twos = np.sum(TRUTH == 1), np.sum(TRUTH == 2)
    assert scores.iou.tolist() == [1.0, 0.0, twos / (ones + twos)]
    assert (scores.images, max(sizes), sum(sizes)) == (7, min(batch, 7), 7)


def test_only_the_indices_count(data):
    calls = []
    scores = evaluate_labels(perfect, data, np.array([5, 2]), size=(6, 8), progress=lambda *call: calls.append(call))
    assert scores.support.sum() == 2 * 48
    assert calls == [(2, 2)]


def test_ignored_pixels_count_nowhere(data):
    labels = TRUTH.copy()
    labels[labels == 1] = 255
    ignoring = ArrayDataset(TRUTH[..., None], labels, classes=data.classes)
    scores = evaluate_labels(wrong_at_one, ignoring, np.arange(7), size=(6, 8))
    assert scores.pixel_accuracy == 1.0
    assert scores.support.sum() == np.sum(TRUTH != 1)


def test_images_are_resized_for_the_model_and_labels_back(tmp_path):
    """Blocks of 4 x 4 equal pixels survive a halved model; scores count the truth's own pixels."""
    rng = np.random.default_rng(1)
    for index, cells in enumerate([(2, 3), (4, 2)]):
        mask = np.kron(rng.integers(0, 2, cells), np.ones((4, 4))).astype(np.uint8)
        mask[0, 0], mask[-1, -1] = 0, 1
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(mask).save(tmp_path / kind / f"{index}.png")
    data = load_dataset(str(tmp_path))
    seen = []

    def predict(images):
        seen.append(images.shape)
        return np.zeros(images.shape[:3], np.uint8)

    scores = evaluate_labels(predict, data, np.arange(2), size=(8, 8), batch=2)
    assert seen == [(2, 8, 8, 1)]
    assert scores.support.sum() == 8 * 12 + 16 * 8
    zeros = sum(int(np.sum(data.label(index) == 0)) for index in range(2))
    assert scores.pixel_accuracy == zeros / (8 * 12 + 16 * 8)


def scored(predict, size=(6, 8)):
    return Scored(lambda images: (predict(images), None), size)


def test_each_image_by_itself(data):
    [found] = tally([scored(wrong_at_one)], data, np.array([4, 1]))
    hits = found.counts.hits.sum(axis=1)
    assert hits.tolist() == [np.sum(TRUTH[4] != 1), np.sum(TRUTH[1] != 1)]
    assert found.counts.truth.sum(axis=1).tolist() == [48, 48]


def test_predictions_out_of_range_are_refused(data):
    with pytest.raises(DataError, match="prediction contains the id 3"):
        evaluate_labels(lambda images: images[..., 0] + 1, data, np.arange(7), size=(6, 8))


def test_nothing_to_evaluate_on_is_refused(data):
    with pytest.raises(DataError, match="no images to evaluate on"):
        evaluate_labels(perfect, data, np.arange(0), size=(6, 8))
