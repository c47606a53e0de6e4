"""Tiles: they cover the image once, and each pixel comes from the tile in which it lies deepest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tiny_models import tiny_contract

from segtool.runtime.pixels import ArrayPixels
from segtool.runtime.tiling import predict_tiled, spans, uses_tiles


@pytest.mark.parametrize("tile", [1, 2, 3, 64, 84])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 84, 85, 127, 128, 129, 1000])
class TestSpans:
    def test_every_pixel_is_answered_for_once_by_a_tile_that_covers_it(self, length: int, tile: int) -> None:
        expected = 0
        for span in spans(length, tile):
            assert span.first == expected
            assert span.start <= span.first < span.last <= span.start + tile
            expected = span.last
        assert expected == length

    def test_tiles_stay_inside(self, length: int, tile: int) -> None:
        for span in spans(length, tile):
            assert 0 <= span.start <= max(0, length - tile)

    def test_each_pixel_lies_deepest_in_its_tile(self, length: int, tile: int) -> None:
        def depth(start: int, pixel: int) -> int:
            left = pixel - start if start > 0 else tile
            right = start + tile - 1 - pixel if start + tile < length else tile
            return min(left, right)

        tiles = spans(length, tile)
        for span in tiles:
            for pixel in range(span.first, span.last):
                best = max(depth(other.start, pixel) for other in tiles)
                assert depth(span.start, pixel) >= best - 1  # the middle of an even overlap goes to either side


def test_neighbours_overlap_by_a_quarter() -> None:
    tiles = spans(1000, 64)
    assert all(left.start + 64 - right.start >= 16 for left, right in pairwise(tiles))


def test_the_border_of_a_tile_is_not_used_inside_the_image() -> None:
    def spoiled_borders(batch: np.ndarray) -> np.ndarray:
        labels = np.ones(batch.shape[:3], np.uint8)
        labels[:, :8], labels[:, -8:], labels[:, :, :8], labels[:, :, -8:] = 0, 0, 0, 0
        return labels

    labels = predict_tiled(ArrayPixels(np.zeros((300, 400, 1), np.uint8)), (64, 84), spoiled_borders)
    assert (labels[8:-8, 8:-8] == 1).all()
    assert (labels[:8] == 0).all()


def test_few_tiles_are_held_at_a_time() -> None:
    sizes = []

    def record(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch[..., 0]

    image = np.random.default_rng(0).integers(0, 256, (500, 700, 1), dtype=np.uint8)
    np.testing.assert_array_equal(predict_tiled(ArrayPixels(image), (64, 84), record), image[..., 0])
    assert max(sizes) == 8
    assert len(sizes) > 10


def test_a_short_side_is_continued_with_its_border() -> None:
    seen = []

    def record(batch: np.ndarray) -> np.ndarray:
        seen.extend(batch)
        return batch[..., 0]

    image = np.arange(10, dtype=np.uint8).reshape(10, 1, 1).repeat(100, axis=1)
    assert predict_tiled(ArrayPixels(image), (64, 84), record).shape == (10, 100)
    assert all((tile[10:] == 9).all() for tile in seen)


@pytest.mark.parametrize(
    ("policy", "size", "tile", "expected"),
    [
        ("resize", (200, 200), "auto", False),
        ("tile", (200, 200), "auto", True),
        ("tile", (200, 200), "never", False),
        ("resize", (200, 200), (64, 84), True),
        ("tile", (64, 84), "auto", False),
        ("tile", (20, 20), "auto", False),
        ("tile", (20, 85), "auto", True),
    ],
)
def test_when_tiles_are_used(policy: str, size: tuple[int, int], tile: object, expected: bool) -> None:
    assert uses_tiles(tiny_contract(size_policy=policy), size, tile) is expected
