"""Crops of a random scale: image and labels agree, what is unknown does not count, the focus is inside."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segtool.train.augmentation.zoom import Axis, Zoom
from segtool.train.crops import CropBatches, CropRule, cut_zoomed, draw_zoom

SCALES = (0.6, 1.7)


def _ramp(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose channels are x, y and 7, and labels that number the pixels."""
    y, x = np.indices(size)
    return np.stack([x, y, np.full(size, 7)], -1).astype(np.uint8), (1000 * y + x).astype(np.int32)


def _zoom(shape: tuple[int, int], start: tuple[float, float], factor: float, size: tuple[int, int]) -> Zoom:
    return Zoom(*(Axis(length, begin, factor, out) for length, begin, out in zip(shape, start, size, strict=True)))


@pytest.mark.parametrize("factor", [0.6, 0.83, 1.0, 1.31, 1.7])
@pytest.mark.parametrize("start", [(20.0, 30.0), (20.4, 30.7), (0.0, 0.3)])
def test_image_and_labels_are_sampled_at_the_same_positions(factor: float, start: tuple[float, float]) -> None:
    image, labels = _ramp((200, 220))
    zoom = _zoom(labels.shape, start, factor, (64, 80))
    assert zoom.known == (slice(0, 64), slice(0, 80))
    crop, ids = zoom.image(image), zoom.labels(labels)
    assert (crop.shape, crop.dtype, ids.shape, ids.dtype) == ((64, 80, 3), np.uint8, (64, 80), np.int32)
    inner = (slice(2, -2), slice(2, -2))  # at the border of the image the filter has fewer pixels
    for level, position, length, begin in ((crop[..., 0], ids % 1000, 80, start[1]),
                                           (crop[..., 1].T, (ids // 1000).T, 64, start[0])):  # fmt: skip
        centres = begin + (np.arange(length) + 0.5) / factor - 0.5  # of output pixels; whole numbers are pixel centres
        assert np.abs(level.astype(float) - centres)[inner].max() <= 0.5 + 1e-6  # rounded to whole levels
        assert np.abs(position - centres).max() <= 0.5 + 1e-6
    assert (crop[..., 2] == 7).all()


def test_a_window_is_what_pillow_makes_of_the_whole_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)
    for factor, start in ((0.6, (1.3, 2.6)), (1.4, (40.2, 51.9)), (1.7, (0.0, 60.0))):
        zoom = _zoom(image.shape[:2], start, factor, (32, 40))
        box = (start[1], start[0], start[1] + 40 / factor, start[0] + 32 / factor)
        whole = np.asarray(Image.fromarray(image).resize((40, 32), Image.Resampling.BILINEAR, box=box))
        np.testing.assert_allclose(zoom.image(image).astype(int), whole, atol=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_zoom_by_nothing_is_a_window(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, channels), np.uint8)
    zoom = _zoom((40, 50), (3, 5), 1.0, (16, 24))
    np.testing.assert_array_equal(zoom.image(image), image[3:19, 5:29])
    np.testing.assert_array_equal(zoom.labels(image[..., 0]), image[3:19, 5:29, 0])


@pytest.mark.parametrize("ignore_id", [None, 255])
@pytest.mark.parametrize("size", [(30, 200), (200, 30), (20, 24), (1, 1)])
def test_what_lies_beyond_the_image_has_no_weight(size: tuple[int, int], ignore_id: int | None) -> None:
    image, labels = np.full((*size, 3), 9, np.uint8), np.ones(size, np.uint8)
    rule = CropRule((48, 64), 2, scales=SCALES)
    batches = CropBatches([image] * 6, [labels] * 6, rule=rule, ignore_id=ignore_id, batch_size=6)
    known = 0.0
    for epoch in range(4):
        batches.start_epoch(epoch)
        crops, ids, weights = batches[0]
        assert (ids[weights > 0] == 1).all()
        assert (ids[weights == 0] == 0).all()
        assert (weights.any((1, 2))).all()
        assert (crops == 9).all()  # the border is repeated
        known += float(weights.mean()) / 4
    covered = [min(1.0, length / crop) for length, crop in zip(size, rule.size, strict=True)]
    assert np.prod(covered) / 3 < known < min(1.0, 3 * np.prod(covered))


def test_small_images_lie_anywhere_in_their_crops() -> None:
    image, labels = np.zeros((10, 10, 1), np.uint8), np.ones((10, 10), np.uint8)
    rng = np.random.default_rng(0)
    rule = CropRule((40, 40), 2, scales=SCALES)
    tops = set()
    for _ in range(60):
        zoom = draw_zoom(labels.shape, rule, None, rng)
        _, ids = cut_zoomed(image, labels, zoom, nothing=5)
        assert ids.shape == (40, 40)
        rows = np.flatnonzero((ids == 1).any(1))
        factor = zoom.rows.factor
        assert abs(len(rows) - 10 * factor) < 2
        tops.add(int(rows[0]))
    assert len(tops) > 15


@pytest.mark.parametrize("size", [(100, 120), (30, 200), (20, 20)])
def test_the_focus_is_inside_at_every_scale(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    rule = CropRule((32, 40), 2, scales=SCALES)
    factors = []
    for _ in range(300):
        focus = int(rng.integers(size[0])), int(rng.integers(size[1]))
        zoom = draw_zoom(size, rule, focus, rng)
        for pixel, axis in zip(focus, (zoom.rows, zoom.columns), strict=True):
            low, high = ((pixel + edge - axis.start) * axis.factor for edge in (0, 1))
            assert -1e-6 <= low < high <= axis.size + 1e-6
            if axis.length * axis.factor >= axis.size:
                assert axis.known == slice(0, axis.size)
        factors.append(zoom.rows.factor)
    assert min(factors) < 0.63
    assert max(factors) > 1.6
    assert np.median(factors) == pytest.approx(np.sqrt(0.6 * 1.7), rel=0.1)  # log-uniform


def test_scaled_crops_are_the_same_after_a_resume() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((90, 120), (30, 80))]
    labels = [(image[..., 0] // 64).astype(np.uint8) for image in images]
    rule = CropRule((32, 40), 4, 0.5, SCALES)
    whole, resumed = (CropBatches(images, labels, rule=rule, batch_size=4, seed=3) for _ in range(2))
    first = whole[0][0]
    whole.on_epoch_end()
    resumed.start_epoch(1)
    for index in range(len(whole)):
        for ours, theirs in zip(whole[index], resumed[index], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(first, whole[0][0])
