"""Augmentations: labels follow their pixels, what comes from outside counts nowhere, a seed gives the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segtool.errors import TrainingError
from segtool.train.augmentation import (
    AUGMENTATIONS,
    Augmenter,
    parse_augmentations,
    spell,
    too_far,
)
from segtool.train.augmentation.geometry import _spline_weights, warp
from segtool.train.augmentation.samples import Samples
from segtool.train.batches import TrainingBatches
from segtool.train.options import TrainOptions
from segtool.train.plan import make_plan

GEOMETRY = ["flip-horizontal", "flip-vertical", "scale", "elastic", "shift"]
INTENSITY = ["brightness", "contrast", "noise"]


def _changed(name: str, images: np.ndarray, labels: np.ndarray, *, seed: int = 1):
    return Augmenter(parse_augmentations(name))(images, labels, np.random.default_rng(seed))


def _smooth(count: int = 24, size: tuple[int, int] = (40, 56), channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images in which one can read a pixel's class off its grey level: soft waves, the class is the level's tens."""
    y, x = np.mgrid[: size[0], : size[1]]
    phases = np.random.default_rng(0).uniform(0, 6, (count, 1, 1))
    levels = 130 + 50 * np.sin(x / 9 + phases) + 50 * np.cos(y / 8 - phases)
    images = np.repeat(np.rint(levels).astype(np.uint8)[..., None], channels, -1)
    return images, (images[..., 0] // 10).astype(np.uint16)


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_a_seed_gives_the_same_batch_and_the_given_arrays_stay(name: str) -> None:
    images, labels = _smooth()
    labels[:, 15:30, 10:20] = 0
    if name == "saturation":  # which leaves grey images as they are
        images = (np.repeat(images[..., :1], 3, -1) * np.array([1, 0.5, 0.2])).astype(np.uint8)
    kept = images.copy(), labels.copy()
    first, again, other = (_changed(name, images, labels, seed=seed) for seed in (1, 1, 2))
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], images)
    for ours, theirs in zip((images, labels), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first[0].dtype, first[1].dtype, first[2].dtype) == (np.uint8, np.uint16, bool)
    assert (first[0].shape, first[1].shape, first[2].shape) == (images.shape, labels.shape, labels.shape)


@pytest.mark.parametrize("name", GEOMETRY)
def test_labels_go_where_their_pixels_go(name: str) -> None:
    images, labels = _smooth()
    moved, ids, known = _changed(name, images, labels)
    # Between two pixels the bilinear level and the nearest label differ by at most one class of ten levels.
    apart = np.abs(moved[..., 0].astype(int) // 10 - ids)[known]
    assert (apart <= 1).all()
    assert (apart == 0).mean() > 0.8
    assert np.mean(ids != labels) > 0.2


@pytest.mark.parametrize("name", ["scale:0.5", "elastic:8", "shift:9"])
def test_what_comes_from_outside_is_unknown_and_nothing_else(name: str) -> None:
    images, labels = _smooth()
    moved, ids, known = _changed(name, images, labels)
    assert 0.01 < np.mean(~known) < 0.5
    assert (moved[~known] == 0).all()
    assert (ids[~known] == 0).all()
    assert (moved[known] >= 30).all()  # the images hold no darker pixel: nothing black was mixed in
    assert known[:, 20, 28].all()


def test_what_one_change_does_not_know_the_next_does_not_know_either() -> None:
    images, labels = _smooth()
    moved, _, known = _changed("scale:0.5,elastic,shift:9", images, labels)
    assert (moved[known] > 0).all()  # the images hold no black pixel
    assert np.mean(~known) > 0.05


def test_unknown_pixels_have_no_weight_and_stay_unknown_through_the_next_change() -> None:
    images, labels = _smooth()
    augmenter = Augmenter(parse_augmentations("scale:0.5,elastic,shift:9,brightness,noise"))
    moved, _, known = augmenter(images, labels, np.random.default_rng([0, 0, 0]))
    assert (moved[~known] == 0).all()
    batches = TrainingBatches(images, labels, batch_size=24, augmenter=augmenter)
    given, _, weights = batches[0]
    np.testing.assert_array_equal(weights == 0, ~augmenter(*_in_order(batches), np.random.default_rng([0, 0, 0]))[2])
    assert (given[weights == 0] == 0).all()


def _in_order(batches: TrainingBatches) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng([0, 0]).permutation(len(batches.images))
    return batches.images[order], batches.labels[order]


@pytest.mark.parametrize("name", ["scale:0.5", "elastic:6"])
def test_ignored_pixels_are_ignored_where_they_go(name: str) -> None:
    images, labels = _smooth()
    labels[:, 10:30, 20:40] = 255
    batches = TrainingBatches(
        images, labels, batch_size=24, augmenter=Augmenter(parse_augmentations(name)), ignore_id=255
    )
    _, ids, weights = batches[0]
    assert ids.max() < 255
    centre = weights[:, 20, 30]
    assert (centre == 0).all()
    assert weights.mean() > 0.3


def test_a_warp_by_nothing_changes_nothing_and_by_half_a_pixel_mixes_neighbours() -> None:
    image = np.array([[10, 20, 40], [50, 60, 80]], np.uint8)[None, ..., None]
    samples = Samples(image, image[..., 0], np.ones((1, 2, 3), bool))
    rows, columns = np.mgrid[:2, :3].astype(np.float32)
    same = warp(samples, rows[None], columns[None])
    np.testing.assert_array_equal(same.images, image)
    assert same.known.all()
    half = warp(samples, rows[None], columns[None] + np.float32(0.4))
    np.testing.assert_array_equal(half.images[0, ..., 0], [[14, 28, 40], [54, 68, 80]])
    np.testing.assert_array_equal(half.labels[0], image[0, ..., 0])
    assert half.known.all()
    beyond = warp(samples, rows[None], columns[None] + np.float32(0.6))
    np.testing.assert_array_equal(beyond.known[0], [[True, True, False]] * 2)
    np.testing.assert_array_equal(beyond.labels[0], [[20, 40, 0], [60, 80, 0]])
    before = warp(samples, rows[None] - np.float32(0.6), columns[None] - np.float32(0.6))
    np.testing.assert_array_equal(before.known[0], [[False] * 3, [False, True, True]])


def test_a_scale_keeps_the_centre_and_stays_within_its_limits() -> None:
    size = 41
    images = np.zeros((300, size, size, 1), np.uint8)
    images[:, 10:31, 10:31] = 200  # 21 pixels wide, about the centre
    moved, _, _ = _changed("scale:0.5", images, images[..., 0])
    widths = (moved[:, 20, :, 0] > 100).sum(1)
    assert 13 <= widths.min() <= 15
    assert 30 <= widths.max() <= 32
    # About the centre: the square stays symmetric and square, up to the rounding of the filter's weights.
    for other in (moved[:, ::-1, ::-1], moved.swapaxes(1, 2)):
        np.testing.assert_allclose(moved.astype(int), other, atol=1)


@pytest.mark.parametrize("size", [1, 16, 50])
def test_the_shares_of_the_nodes_sum_to_one(size: int) -> None:
    shares = _spline_weights(size)
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(shares[0, :3], [1 / 6, 4 / 6, 1 / 6], atol=1e-6)


def test_an_elastic_change_moves_no_pixel_further_than_asked_and_is_smooth() -> None:
    height, width = 48, 64
    columns = np.broadcast_to(np.arange(width), (200, height, width))
    rows = np.broadcast_to(np.arange(height)[:, None], (200, height, width))
    images = np.zeros((200, height, width, 1), np.uint8)
    moves = []
    for truth in (columns, rows):
        _, ids, known = _changed("elastic:5", images, truth.astype(np.uint16))
        move = np.where(known, ids.astype(int) - truth, 0)
        assert np.abs(move).max() <= 5
        assert move.max() >= 3
        assert move.min() <= -3
        inner = move[:, 8:-8, 8:-8]
        assert np.abs(np.diff(inner, axis=2)).max() <= 2
        moves.append(inner)
    assert not np.array_equal(*moves)


def test_half_of_the_images_are_flipped_exactly() -> None:
    images, labels = _smooth(200)
    for name, axis in (("flip-horizontal", 2), ("flip-vertical", 1)):
        moved, ids, known = _changed(name, images, labels)
        flipped = (moved == np.flip(images, axis)).all((1, 2, 3))
        assert (flipped | (moved == images).all((1, 2, 3))).all()
        assert 60 < flipped.sum() < 140
        np.testing.assert_array_equal(ids[flipped], np.flip(labels, axis)[flipped])
        assert known.all()


@pytest.mark.parametrize("name", INTENSITY)
def test_intensities_change_within_their_limits_and_labels_stay(name: str) -> None:
    images, labels = _smooth(60, channels=3)
    changed, ids, known = _changed(name, images, labels)
    np.testing.assert_array_equal(ids, labels)
    assert known.all()
    before, after = images.astype(float), changed.astype(float)
    distance = np.abs(before - before.mean((1, 2, 3), keepdims=True))
    limit = {"brightness": 0.3 * before + 1, "contrast": 0.3 * distance + 1, "noise": np.full_like(before, 60)}[name]
    assert (np.abs(after - before) <= limit).all()
    assert np.abs(after - before).mean() > 1


def test_brightness_and_contrast_saturate() -> None:
    images = np.full((40, 4, 4, 1), 250, np.uint8)
    images[:, :2] = 3
    for name in ("brightness:0.9", "contrast:0.9", "noise:60"):
        changed = _changed(name, images, images[..., 0])[0]
        assert changed[:, 2:].max() == 255
        assert changed[:, 2:].min() < 250
        assert changed[:, :2].max() < 200


def test_what_moves_by_more_than_half_a_side_is_told() -> None:
    for text in ("shift:12", "elastic:12", "scale:3,noise:100", "none"):
        assert too_far(parse_augmentations(text), (24, 40)) is None
    for name in ("shift", "elastic"):
        sentence = too_far(parse_augmentations(f"noise,{name}:13"), (24, 40))
        assert sentence is not None
        assert f"write --augment with {name}:12 or less" in sentence


def test_augmentations_are_written_with_strengths_in_any_order() -> None:
    assert parse_augmentations("noise:5, shift") == (("shift", 12), ("noise", 5))
    assert parse_augmentations("none") == ()
    assert spell(parse_augmentations("noise:5,flip-vertical,shift")) == "flip-vertical,shift:12,noise:5"
    assert spell(()) == "none"
    assert not Augmenter(())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("blur", "no augmentation 'blur'; write none, or a comma-separated list of flip-horizontal"),
        ("", "no augmentation ''"),
        ("shift,shift:3", "shift is given twice"),
        ("shift:1.5", "a whole number above 0"),
        ("shift:0", "above 0"),
        ("noise:x", "found 'x'"),
        ("noise:nan", "found 'nan'"),
        ("brightness:1.5", "up to 1, found '1.5'"),
        ("flip-vertical:2", "has no strength"),
        ("none,shift", "The word none cannot be combined, found 'none,shift'"),
    ],
)
def test_what_is_no_augmentation_is_refused(text: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        parse_augmentations(text)


def test_the_recipe_s_own_shift_is_only_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 20, 30), np.uint8)
    np.savez(tmp_path / "small.npz", images=images, labels=np.tile(np.eye(20, 30, dtype=np.uint8), (6, 1, 1)))
    make_plan(TrainOptions(data=str(tmp_path / "small.npz")))
    assert "shift:12 moves by up to 12 pixels in images of 20 x 30" in caplog.text
    with pytest.raises(TrainingError, match="shift:11 moves"):
        make_plan(TrainOptions(data=str(tmp_path / "small.npz"), augment="shift:11"))
