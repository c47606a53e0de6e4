"""Tiles: they cover the image once, fade into each other where there are scores, and are held a few at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_contract, write_convolutions

from segtool.images.pixels import ArrayPixels
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.tiling import Block, merged_scores, predict_tiled, spans, uses_tiles


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

    def test_no_pixel_is_in_two_fades_and_a_quarter_of_an_overlap_does_not_count(self, length: int, tile: int) -> None:
        tiles = spans(length, tile)
        assert (tiles[0].begin, tiles[-1].settled, tiles[-1].fall) == (0, length, 0)
        for span in tiles:
            assert span.begin + span.rise <= span.settled
        for left, right in pairwise(tiles):
            overlap = left.start + tile - right.start
            assert (left.settled, left.fall) == (right.begin, right.rise)
            assert right.rise == min(overlap // 2, tile // 4)
            assert right.begin - right.start >= overlap // 4
            assert left.start + tile - (left.settled + left.fall) >= overlap // 4

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


class TestMerging:
    def test_blocks_cover_the_image_once(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (300, 250, 1), dtype=np.uint8)
        covered = np.zeros((300, 250), int)
        scores = np.full((300, 250, 2), np.nan, np.float32)
        for block in merged_scores(ArrayPixels(image), (64, 84), two_scores):
            covered[block.rows, block.columns] += 1
            scores[block.rows, block.columns] = block.scores
        assert (covered == 1).all()
        np.testing.assert_array_equal(scores, two_scores(image))  # equal scores stay exactly what they are

    @pytest.mark.parametrize("axis", [0, 1])
    def test_one_tile_fades_into_the_next(self, axis: int) -> None:
        count = iter(range(10))

        def number(batch: np.ndarray) -> np.ndarray:
            return np.stack([np.full((*tile.shape[:2], 1), next(count), np.float32) for tile in batch])

        size = [64, 64]
        size[axis] = 100
        (scores,) = assembled(merged_scores(ArrayPixels(np.zeros((*size, 1), np.uint8)), (64, 64), number), size)
        line = scores[:, 5, 0] if axis == 0 else scores[5, :, 0]
        # The tiles cover 0..63 and 36..99: of the overlap of 28 pixels the middle 14 fade.
        fade = (np.arange(14) + 0.5) / 14
        np.testing.assert_allclose(line, [*[0] * 43, *fade, *[1] * 43], atol=1e-6)

    def test_memory_does_not_grow_with_the_height_and_by_a_few_lines_with_the_width(self) -> None:
        def peak(height: int, width: int) -> int:
            class Zeros:
                size = (height, width)

                def read(self, rows: slice, columns: slice) -> np.ndarray:
                    return np.zeros((rows.stop - rows.start, columns.stop - columns.start, 1), np.uint8)

            tracemalloc.start()
            try:
                for block in merged_scores(Zeros(), (64, 84), two_scores):
                    assert block.scores.shape[2] == 2
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        assert peak(4000, 500) < 1.05 * peak(500, 500)
        lines, values, bytes_each = 64 // 4, 2, 4
        assert peak(200, 20_000) - peak(200, 500) < 1.5 * lines * 19_500 * values * bytes_each


def two_scores(pixels: np.ndarray) -> np.ndarray:
    value = pixels[..., 0].astype(np.float32)
    return np.stack([value / 3, 100 - value], axis=-1)


def assembled(blocks: Iterator[Block], size: Sequence[int]) -> list[np.ndarray]:
    result = None
    for block in blocks:
        if result is None:
            result = np.full((*size, block.scores.shape[2]), np.nan, np.float32)
        result[block.rows, block.columns] = block.scores
    return [] if result is None else [result]


class TestAgainstTheWholeImage:
    """A fully convolutional network, whose twin of the whole image's size has the same weights."""

    SIZE = (230, 205)
    TILE = (64, 48)

    def both(self, folder: Path, head: str, kernels: tuple[int, ...]) -> tuple[Segmenter, Segmenter]:
        names = ("a", "b", "c")
        made = []
        for name, (height, width) in (("tile", self.TILE), ("whole", self.SIZE)):
            contract = tiny_contract(class_names=names, head=head, height=height, width=width, size_policy="tile")
            made.append(load(write_convolutions(folder / f"{name}.onnx", contract, kernels=kernels)))
        return made[0], made[1]

    IMAGE = np.random.default_rng(3).integers(0, 256, SIZE, dtype=np.uint8)

    @pytest.mark.parametrize("head", ["logits", "probabilities", "labels"])
    def test_equal_everywhere_where_a_pixel_sees_as_far_as_the_margin(self, tmp_path: Path, head: str) -> None:
        tiles, whole = self.both(tmp_path, head, (5, 3))  # sees 3 pixels far; an overlap of 12 has a margin of 3
        labels = whole(self.IMAGE)
        assert np.bincount(labels.reshape(-1)).min() > 500
        np.testing.assert_array_equal(tiles(self.IMAGE), labels)
        if head != "labels":
            np.testing.assert_array_equal(tiles.probabilities(self.IMAGE), whole.probabilities(self.IMAGE))

    def test_equal_away_from_the_borders_of_tiles_where_it_sees_further(self, tmp_path: Path) -> None:
        tiles, whole = self.both(tmp_path, "logits", (9, 5))
        far = self.away_from_borders(6)
        assert 0.2 < far.mean() < 0.7
        found, expected = tiles.probabilities(self.IMAGE), whole.probabilities(self.IMAGE)
        np.testing.assert_array_equal(found[far], expected[far])
        assert (found[~far] != expected[~far]).any()

    def away_from_borders(self, reach: int) -> np.ndarray:
        near = []
        for length, tile in zip(self.SIZE, self.TILE, strict=True):
            line = np.zeros(length, bool)
            for span in spans(length, tile):
                for border in (span.start, span.start + tile):
                    if 0 < border < length:
                        line[max(0, border - reach) : border + reach] = True
            near.append(line)
        return ~(near[0][:, None] | near[1])


@pytest.mark.parametrize(
    ("policy", "size", "tile", "expected"),
    [
        ("resize", (200, 200), "auto", False),
        ("tile", (200, 200), "auto", True),
        ("tile", (200, 200), "never", False),
        ("resize", (200, 200), (64, 84), True),
        ("tile", (64, 84), "auto", False),
        ("tile", (20, 20), "auto", True),
        ("tile", (20, 85), "auto", True),
    ],
)
def test_when_tiles_are_used(policy: str, size: tuple[int, int], tile: object, expected: bool) -> None:
    assert uses_tiles(tiny_contract(size_policy=policy), size, tile) is expected
