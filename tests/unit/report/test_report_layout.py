"""Nothing overlaps and nothing leaves the page, whatever the number of classes and the size of the images."""

import itertools

import numpy as np
import pytest

from segtool.contract import default_palette
from segtool.report.canvas import drawable, drawable_names, shorten, text_width
from segtool.report.layout import COLUMN_GAP, LEGEND_SIZE, LINE, MARGIN, LegendEntry, legend_places, plan
from segtool.report.pixels import IGNORED_COLOR, color_labels, fit, gray_to_rgb, panel_size
from segtool.report.tables import TableRow


def table(count):
    return [TableRow(index, f"class {index}", 0.5, 0.5) for index in range(count)]


@pytest.mark.parametrize("classes", [1, 2, 11, 12, 40, 151])
@pytest.mark.parametrize("size", [(64, 84), (512, 512), (1024, 2048), (1, 3000), (3000, 1)])
def test_every_row_of_a_table_has_a_place_inside_its_row(classes, size):
    legend = [LegendEntry(f"class {index}", (0, 0, 0)) for index in range(classes)]
    layout = plan(size, [table(classes), table(1)], legend, heading=100)
    assert layout.table.columns * layout.table.lines >= classes
    assert (min(layout.table.lines, classes) + 1) * LINE <= layout.row_height
    assert layout.panel_height <= layout.row_height
    used = layout.table.columns * (layout.table.column_width + COLUMN_GAP) - COLUMN_GAP
    assert layout.table.x + used <= layout.width - MARGIN
    assert layout.first_row + 2 * layout.row_height < layout.height


@pytest.mark.parametrize("count", [1, 3, 24, 150])
def test_the_legend_stays_on_the_page_and_keeps_its_entries_apart(count):
    entries = [LegendEntry("a rather long name of a class" if index % 5 else "b", (1, 2, 3)) for index in range(count)]
    places = legend_places(entries, 1500)
    assert len(places) == count
    assert all(x + text_width(entry.name, LEGEND_SIZE) < 1500 for _, x, entry in places)
    for (line, x, entry), (next_line, next_x, _) in itertools.pairwise(places):
        assert next_line > line or next_x > x + text_width(entry.name, LEGEND_SIZE)


def test_there_may_be_nothing_to_explain():
    assert legend_places([], 1500) == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 84), (320, 420)), ((512, 512), (480, 480)), ((1024, 2048), (240, 480)), ((1, 5000), (1, 480))],
)
def test_panel_size(size, expected):
    assert panel_size(*size, box=480) == expected


def test_labels_have_the_colours_of_their_classes_and_ignored_pixels_grey():
    palette = default_palette(3)
    colored = color_labels(np.array([[0, 2], [255, 1]], np.uint8), palette, ignore_id=255)
    assert colored.dtype == np.uint8
    np.testing.assert_array_equal(colored, [[palette[0], palette[2]], [IGNORED_COLOR, palette[1]]])


def test_a_whole_enlargement_is_exact_for_images_and_labels():
    image = gray_to_rgb(np.arange(12, dtype=np.uint8).reshape(3, 4, 1))
    for smooth in (True, False):
        np.testing.assert_array_equal(fit(image, (15, 20), smooth=smooth), image.repeat(5, 0).repeat(5, 1))


def test_labels_get_no_new_colours_when_enlarged():
    labels = color_labels(np.eye(5, dtype=np.uint8), default_palette(2), ignore_id=None)
    shown = fit(labels, (12, 12), smooth=False)
    assert {tuple(color) for color in shown.reshape(-1, 3).tolist()} == set(default_palette(2))


def test_a_thin_line_leaves_a_trace_when_shrunk():
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, 201] = 255
    assert fit(image, (40, 40), smooth=False).max() > 0


def test_shorten_keeps_what_fits_and_cuts_the_rest():
    assert shorten("road", 9, 500) == "road"
    cut = shorten("a very long name of a class", 9, 120)
    assert cut.endswith("…") and text_width(cut, 9) <= 120


def test_names_that_the_font_lacks_become_their_id():
    assert drawable_names(["Straße", "植物", "$x^2$", "", "two\nlines"]) == (
        "Straße",
        "class 1",
        "$x^2$",
        "class 3",
        "two lines",
    )
    assert drawable("run 植") == "run ?"
