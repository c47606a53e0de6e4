"""What a network takes and gives, as its shapes show it."""

import pytest

from segtool.errors import ExportError
from segtool.export.network.interface import Tensor, image_input, named_output, score_output

IMAGE = image_input([Tensor("x", (None, 64, 96, 3))], source="net")
FIRST = image_input([Tensor("x", (None, 3, 64, 96))], source="net")


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((None, 64, 96, 3), ("NHWC", 3, (64, 96))),
        ((None, None, None, 1), ("NHWC", 1, (None, None))),
        ((1, 3, 64, 96), ("NCHW", 3, (64, 96))),
        ((None, 1, None, 96), ("NCHW", 1, (None, 96))),
    ],
)
def test_the_layout_of_an_image_is_that_of_its_channels(shape, found):
    taken = image_input([Tensor("x", shape)], source="net")
    assert (taken.layout, taken.channels, taken.size) == found


@pytest.mark.parametrize(
    ("shapes", "noun"),
    [
        ([(None, 64, 96, 4)], "1 or 3 channels"),
        ([(None, 10)], "expected an image"),
        ([(None, 64, 96, 3), (None, 1)], "2 inputs"),
        ([], "0 inputs"),
    ],
)
def test_other_inputs_are_refused_by_name(shapes, noun):
    with pytest.raises(ExportError, match=noun):
        image_input([Tensor(f"x{i}", shape) for i, shape in enumerate(shapes)], source="net")


@pytest.mark.parametrize(
    ("taken", "shape", "classes", "found"),
    [
        (IMAGE, (1, 64, 96, 5), 5, ("NHWC", "map", 5, (64, 96))),
        (FIRST, (1, 5, 64, 96), 5, ("NCHW", "map", 5, (64, 96))),
        (FIRST, (1, 5, 16, 24), 5, ("NCHW", "map", 5, (16, 24))),
        (IMAGE, (1, 64 * 96, 5), 5, ("NHWC", "pixels", 5, (64, 96))),
        (IMAGE, (1, 32 * 48, 5), 5, ("NHWC", "pixels", 5, (32, 48))),
        (FIRST, (1, 5, 64 * 96), 5, ("NCHW", "pixels", 5, (64, 96))),
        (FIRST, (1, 64, 96), 2, ("NCHW", "plane", 1, (64, 96))),
        (FIRST, (1, 1, 64, 96), 2, ("NCHW", "map", 1, (64, 96))),
    ],
)
def test_scores_are_found_in_every_layout(taken, shape, classes, found):
    given = score_output(shape, taken, (64, 96), classes=classes)
    assert (given.layout, given.form, given.classes, given.size) == found


def test_an_ambiguous_shape_is_read_by_the_count_of_the_classes_and_the_layout_of_the_input():
    square = image_input([Tensor("x", (None, 3, 32, 32))], source="net")
    assert score_output((1, 32, 32, 2), square, (32, 32), classes=2).layout == "NHWC"
    assert score_output((1, 8, 8, 8), square, (32, 32), classes=8).layout == "NCHW"


@pytest.mark.parametrize("shape", [(1, 1000), (1, 5, 61, 96), (1, 7, 9), (1, 3, 64, 96, 2)])
def test_what_is_no_map_is_none(shape):
    assert score_output(shape, IMAGE, (64, 96), classes=5) is None


def test_one_of_several_outputs_has_to_be_named():
    outputs = [Tensor("main", (None, 64, 96, 5)), Tensor("aux", (None, 16, 24, 5))]
    assert named_output("net", outputs[:1], None) == "main"
    assert named_output("net", outputs, "aux") == "aux"
    with pytest.raises(ExportError, match="--output main"):
        named_output("net", outputs, None)
    with pytest.raises(ExportError, match="no output 'other'"):
        named_output("net", outputs, "other")
