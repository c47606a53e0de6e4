"""Images and label maps as pixels, and the names that the font of pictures can write."""

import numpy as np

from segtool.contract import default_palette
from segtool.report.pixels import IGNORED_COLOR, color_labels, fit, gray_to_rgb
from segtool.report.style import drawable, drawable_names


def test_labels_have_the_colours_of_their_classes_and_ignored_pixels_grey():
    palette = default_palette(3)
    colored = color_labels(np.array([[0, 2], [255, 1]], np.uint8), palette, ignore_id=255)
    assert colored.dtype == np.uint8
    np.testing.assert_array_equal(colored, [[palette[0], palette[2]], [IGNORED_COLOR, palette[1]]])


def test_a_whole_enlargement_is_exact():
    image = gray_to_rgb(np.arange(12, dtype=np.uint8).reshape(3, 4, 1))
    np.testing.assert_array_equal(fit(image, (15, 20)), image.repeat(5, 0).repeat(5, 1))


def test_a_thin_line_leaves_a_trace_when_shrunk():
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, 201] = 255
    assert fit(image, (40, 40)).max() > 0


def test_names_that_the_font_lacks_become_their_id():
    assert drawable_names(["Straße", "植物", "$x^2$", "", "two\nlines"]) == (
        "Straße",
        "class 1",
        "$x^2$",
        "class 3",
        "two lines",
    )
    assert drawable("run 植") == "run ?"
