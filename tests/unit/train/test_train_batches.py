"""Training batches: seeded, the same after a resume, and labels that move with their images."""

from __future__ import annotations

import numpy as np

from segtool.train.augmentation import Augmenter, parse_augmentations
from segtool.train.batches import TrainingBatches


def _shifted(limit: int) -> Augmenter:
    return Augmenter(parse_augmentations(f"shift:{limit}"))


def _images(count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (count, 9, 11, 1), dtype=np.uint8)
    return images, (images[..., 0] % 3).astype(np.uint8)


def test_an_epoch_shows_each_image_once() -> None:
    images, labels = _images()
    batches = TrainingBatches(images, labels, batch_size=4)
    shown = np.concatenate([batches[index][0] for index in range(len(batches))])
    assert [len(batches[index][0]) for index in range(len(batches))] == [4, 4, 2]
    assert sorted(image.tobytes() for image in shown) == sorted(image.tobytes() for image in images)


def test_an_epoch_is_the_same_after_a_resume_and_differs_from_the_next() -> None:
    images, labels = _images()
    whole = TrainingBatches(images, labels, batch_size=4, augmenter=_shifted(3), seed=5)
    first = [part.copy() for part in whole[1]]
    whole.on_epoch_end()
    resumed = TrainingBatches(images, labels, batch_size=4, augmenter=_shifted(3), seed=5)
    resumed.start_epoch(1)
    for ours, theirs in zip(whole[1], resumed[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first[0], whole[1][0])


def test_labels_move_with_their_images() -> None:
    images, labels = _images(40)
    moved, ids, inside = _shifted(4)(images, labels, np.random.default_rng(1))
    np.testing.assert_array_equal(inside, moved[..., 0] > 0)
    np.testing.assert_array_equal(ids[inside], moved[..., 0][inside] % 3)
    assert (ids[~inside] == 0).all()
    assert len({image.tobytes() for image in moved}) == 40
    assert (~inside).any()


def test_a_shift_is_never_larger_than_asked_and_reaches_both_ends() -> None:
    images = np.zeros((400, 9, 11, 1), np.uint8)
    images[:, 4, 5] = 200
    moved, _, _ = _shifted(2)(images, images[..., 0], np.random.default_rng(1))
    _, rows, columns = np.nonzero(moved[..., 0])
    assert set(rows) == {2, 3, 4, 5, 6}
    assert set(columns) == {3, 4, 5, 6, 7}


def test_pixels_that_count_nowhere_have_no_weight() -> None:
    images, labels = _images()
    labels[:, :2] = 255
    batches = TrainingBatches(images, labels, batch_size=10, ignore_id=255)
    _, ids, weights = batches[0]
    assert (weights[:, :2] == 0).all()
    assert (weights[:, 2:] == 1).all()
    assert ids.max() == 2
    assert ids.min() == 0


def test_what_comes_in_from_outside_has_no_weight() -> None:
    images, labels = _images()
    batches = TrainingBatches(images, labels, batch_size=10, augmenter=_shifted(3))
    moved, _, weights = batches[0]
    assert ((moved[..., 0] > 0) == (weights > 0)).all()
    assert (weights == 0).any()
