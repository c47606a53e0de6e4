"""Images and label maps as pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segtool.contract import default_palette
from segtool.data.classes import Classes
from segtool.report.page.images import panel
from segtool.report.pictures import IGNORED_COLOR, gray_to_rgb, overlay_of


def test_the_background_is_clear_and_ignored_pixels_are_light_grey():
    palette, classes = default_palette(3), Classes(("a", "b", "c"), 1, 255)
    image = np.full((400, 400, 3), (10, 20, 30), np.uint8)
    labels = np.repeat(np.array([0, 1, 2, 255], np.uint8), 100)[None].repeat(400, 0)
    shown = overlay_of(image, labels, palette, classes)
    assert shown.dtype == np.uint8
    assert (shown[:, 100:200] == image[:, 100:200]).all()
    for column, color in ((99, palette[0]), (200, palette[2]), (299, palette[2]), (300, IGNORED_COLOR)):
        assert (shown[:, column] == color).all()
    veil = shown[5, 350].astype(int)
    assert veil.min() > 100 and np.ptp(veil) < 10


def test_small_pictures_are_enlarged():
    image, labels = np.zeros((20, 40, 1), np.uint8), np.ones((20, 40), np.uint8)
    assert overlay_of(image, labels, default_palette(2), Classes(("a", "b"), 0)).shape == (160, 320, 3)


def decoded(shown):
    kind, _, text = shown["data"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return image.mode, np.asarray(image.convert("RGB"))


def test_a_grey_image_has_three_equal_channels():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    np.testing.assert_array_equal(gray_to_rgb(image), image.repeat(3, 2))


def test_a_thin_line_leaves_a_trace_when_shrunk():
    image = np.zeros((4000, 3000, 3), np.uint8)
    image[:, 201] = 255
    shown = panel("image", "a line", image)
    assert (shown["height"], shown["width"]) == (384, 288)
    _, pixels = decoded(shown)
    assert pixels.shape == (384, 288, 3)
    assert pixels.max(axis=(1, 2)).min() > 0


@pytest.mark.parametrize("colors", [1, 2, 200, 256, 257])
def test_a_picture_in_the_page_loses_nothing(colors):
    random = np.random.default_rng(colors)
    palette = random.permutation(256**3)[:colors]
    values = palette[np.concatenate([np.arange(colors), random.integers(0, colors, 64 * 84 - colors)])]
    pixels = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1).astype(np.uint8).reshape(64, 84, 3)
    mode, found = decoded(panel("image", "noise", pixels))
    assert mode == ("P" if colors <= 256 else "RGB")
    np.testing.assert_array_equal(found, pixels)


def test_a_photograph_in_the_page_is_small_and_nearly_the_same():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((384, 288))
    pixels = np.clip(np.asarray(smooth) + rng.normal(0, 6, (288, 384, 3)), 0, 255).astype(np.uint8)
    pixels[100:200, 100:103] = (255, 0, 60)  # an outline
    shown = panel("image", "a photograph", pixels)
    kind, _, text = shown["data"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert len(text) < 384 * 288
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        found = np.asarray(image).astype(int)
    assert np.abs(found - pixels).mean() < 6
    assert np.abs(found[100:200, 101] - (255, 0, 60)).mean() < 8
