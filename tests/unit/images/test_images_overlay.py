"""The picture of an overlay: tinted regions with outlines, small images enlarged, a legend of what occurs below it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from segtool.array_types import BoolArray, IntegerArray, UInt8Array
from segtool.contract import default_palette
from segtool.errors import DataError
from segtool.images.legend import PAPER, Key, Legend, legend_keys
from segtool.images.overlay import enlarged, overlay, write_overlay

PALETTE = ((10, 20, 30), (200, 100, 0), (0, 0, 250), (0, 222, 111))
NAMES = ("background", "1", "road", "person")


def drawn(path: Path, image: UInt8Array, labels: UInt8Array) -> UInt8Array:
    write_overlay(path / "a.png", image, labels, PALETTE, names=NAMES, background_id=0)
    return np.asarray(Image.open(path / "a.png"))


def has_color(picture: UInt8Array, color: tuple[int, int, int]) -> bool:
    return bool((picture == color).all(axis=-1).any())


def close_to_another_class(labels: IntegerArray, line: int) -> BoolArray:
    """Return the outline: another class at most `line` rows and columns away, corners left out."""
    height, width = labels.shape
    padded = np.pad(labels, line, mode="edge")
    near = np.zeros(labels.shape, np.bool_)
    for down in range(2 * line + 1):
        for right in range(2 * line + 1):
            if {down, right} <= {0, 2 * line}:
                continue
            near |= padded[down : down + height, right : right + width] != labels
    return near


# The last ones are computed in several bands; their longer sides are 1 to 6 outlines of 450 pixels.
@pytest.mark.parametrize(
    ("size", "line"), [((1, 1), 1), ((9, 450), 1), ((451, 40), 2), ((1100, 700), 3), ((2500, 130), 6)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_outlines_have_the_full_colour_and_regions_are_tinted(size: tuple[int, int], line: int, channels: int) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    blocks = rng.integers(0, 4, [side // 23 + 1 for side in size], dtype=np.uint8)
    labels = blocks.repeat(23, 0).repeat(23, 1)[: size[0], : size[1]]
    labels[::97, ::31] = 3
    picture = overlay(image, labels, PALETTE, background_id=0)
    foreground, outlines = labels != 0, close_to_another_class(labels, line)
    np.testing.assert_array_equal(picture[~foreground], np.broadcast_to(image, picture.shape)[~foreground])
    colors = np.asarray(PALETTE, np.uint8)[labels]
    np.testing.assert_array_equal(picture[foreground & outlines], colors[foreground & outlines])
    rgb = np.broadcast_to(image, picture.shape).astype(float)
    grey = rgb @ (0.299, 0.587, 0.114)
    tinted = 0.4375 * colors + 0.172 * rgb + 0.297 * grey[..., None] + 24
    inside = foreground & ~outlines
    np.testing.assert_allclose(picture[inside], tinted[inside], atol=2)


def test_a_thin_object_has_its_full_colour() -> None:
    labels = np.zeros((360, 480), np.uint8)
    labels[:, 100:103] = 3
    picture = overlay(np.zeros((360, 480, 3), np.uint8), labels, PALETTE, background_id=0)
    assert (picture[:, 100:103] == PALETTE[3]).all()


@pytest.mark.parametrize("color", default_palette(12))
def test_the_image_stays_readable_below_a_colour(color: tuple[int, int, int]) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    shown = overlay(ramp, np.zeros((1, 256), np.uint8), [color]).astype(int)
    assert (np.diff(shown, axis=1) >= 0).all()
    assert (shown[0, 255] - shown[0, 0] >= 115).all(), "less than 45 % of the contrast is left"


@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_ids_beyond_the_palette_are_white(dtype: type) -> None:
    picture = overlay(np.zeros((2, 2), np.uint8), np.array([[0, 300], [0, 300]], dtype), PALETTE)
    np.testing.assert_array_equal(picture[:, 1], 255)


def test_labels_of_another_size_are_refused(tmp_path: Path) -> None:
    image, labels = np.zeros((20, 20, 3), np.uint8), np.zeros((10, 20), np.uint8)
    with pytest.raises(DataError, match="same size"):
        overlay(image, labels, PALETTE)
    with pytest.raises(DataError, match="same size"):
        drawn(tmp_path, image, labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "times"), [((1, 1), 8), ((64, 84), 4), ((3, 400), 1), ((500, 2), 1), ((1100, 700), 1), ((2, 9000), 1)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_legend_covers_no_pixel(tmp_path: Path, size: tuple[int, int], times: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    labels = rng.integers(0, 3, size, dtype=np.uint8)
    picture = drawn(tmp_path, image, labels)
    height, width = size[0] * times, size[1] * times
    whole = overlay(enlarged(image, times), enlarged(labels, times), PALETTE, background_id=0)
    np.testing.assert_array_equal(picture[:height, :width], whole)
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
    legend = Legend(keys, (9, width))
    bands = list(legend.bands())
    assert sum(map(len, bands)) == legend.height
    assert {band.shape[1] for band in bands} == {legend.width}
    whole = np.concatenate(bands)
    assert all(has_color(whole, (index, 9, 9)) for index in range(20))
    assert (whole[:, -3:] == PAPER).all(), "a text reaches the border"
    assert max(map(len, bands)) < 260, "a band of it is small"


def test_letters_grow_with_the_picture() -> None:
    keys = [Key("0 road: 100.0 %", (1, 2, 3))]
    heights = [Legend(keys, (9, width)).height for width in (84, 336, 1000, 4000, 20000, 60000)]
    assert heights == sorted(heights)
    assert heights[0] == heights[1] < heights[2] < heights[3] < heights[4] == heights[5]


def test_letters_of_a_tall_picture_are_as_large_as_those_of_a_wide_one() -> None:
    keys = [Key("0 road: 100.0 %", (1, 2, 3))]
    assert Legend(keys, (6000, 500)).height == Legend(keys, (9, 4000)).height > Legend(keys, (9, 500)).height


def test_a_pillow_without_freetype(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageFont.load_default

    def without_sizes(size: float | None = None) -> object:
        if size is not None:
            raise ImportError("The _imagingft C module is not installed")
        return real()

    monkeypatch.setattr(ImageFont, "load_default", without_sizes)
    assert Legend([Key("0 road: 100.0 %", (1, 2, 3))], (9, 500)).width == 500
