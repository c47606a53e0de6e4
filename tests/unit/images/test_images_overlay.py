"""The picture of an overlay: the blend untouched, small images enlarged, a legend of what occurs below it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from segtool.array_types import UInt8Array
from segtool.images.legend import PAPER, Key, Legend, legend_keys
from segtool.images.pictures import overlay, write_overlay

PALETTE = ((10, 20, 30), (200, 100, 0), (0, 0, 250), (0, 222, 111))
NAMES = ("background", "1", "road", "person")


def drawn(path: Path, image: UInt8Array, labels: UInt8Array) -> UInt8Array:
    write_overlay(path / "a.png", image, labels, PALETTE, names=NAMES, background_id=0)
    return np.asarray(Image.open(path / "a.png"))


def has_color(picture: UInt8Array, color: tuple[int, int, int]) -> bool:
    return bool((picture == color).all(axis=-1).any())


@pytest.mark.parametrize(
    ("size", "times"), [((1, 1), 8), ((64, 84), 4), ((3, 400), 1), ((500, 2), 1), ((1100, 700), 1), ((2, 9000), 1)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_legend_covers_no_pixel(tmp_path: Path, size: tuple[int, int], times: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    labels = rng.integers(0, 3, size, dtype=np.uint8)
    picture = drawn(tmp_path, image, labels)
    blend = overlay(image, labels, PALETTE, background_id=0)
    height, width = size[0] * times, size[1] * times
    np.testing.assert_array_equal(picture[:height:times, :width:times], blend)
    np.testing.assert_array_equal(picture[times - 1 : height : times, times - 1 : width : times], blend)
    assert (picture[:height, width:] == PAPER).all()
    assert not has_color(picture[height:], PALETTE[3])
    for index in np.unique(labels)[1:]:
        assert has_color(picture[height:], PALETTE[index])


def test_only_classes_that_occur_with_their_shares() -> None:
    labels = np.zeros((50, 60), np.uint8)
    labels[:5] = 2
    labels[9, 9] = 1
    assert legend_keys(labels, NAMES, PALETTE, 0) == [
        Key("0 background: 90.0 %", None),
        Key("1: < 0.1 %", PALETTE[1]),
        Key("2 road: 10.0 %", PALETTE[2]),
    ]


def test_a_long_name_is_cut() -> None:
    (key,) = legend_keys(np.zeros((2, 2), np.uint8), ["n" * 500], PALETTE, None)
    assert key == Key("0 " + "n" * 31 + "…: 100 %", PALETTE[0])


@pytest.mark.parametrize("width", [1, 336, 3000])
def test_every_line_is_whole(width: int) -> None:
    keys = [Key(f"{index} {'m' * 20}: 100.0 %", (index, 9, 9)) for index in range(20)]
    legend = Legend(keys, width)
    bands = list(legend.bands())
    assert sum(map(len, bands)) == legend.height
    assert {band.shape[1] for band in bands} == {legend.width}
    whole = np.concatenate(bands)
    assert all(has_color(whole, (index, 9, 9)) for index in range(20))
    assert (whole[:, -3:] == PAPER).all(), "a text reaches the border"
    assert max(map(len, bands)) < 260, "a band of it is small"


def test_letters_grow_with_the_picture() -> None:
    keys = [Key("0 road: 100.0 %", (1, 2, 3))]
    heights = [Legend(keys, width).height for width in (84, 336, 1000, 4000, 20000, 60000)]
    assert heights == sorted(heights)
    assert heights[0] == heights[1] < heights[2] < heights[3] < heights[4] == heights[5]


def test_a_pillow_without_freetype(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageFont.load_default

    def without_sizes(size: float | None = None) -> object:
        if size is not None:
            raise ImportError("The _imagingft C module is not installed")
        return real()

    monkeypatch.setattr(ImageFont, "load_default", without_sizes)
    assert Legend([Key("0 road: 100.0 %", (1, 2, 3))], 500).width == 500
