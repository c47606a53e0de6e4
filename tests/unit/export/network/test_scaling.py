"""Scalings of pixels: as named, as numbers, as a network does it, and as found by measurement."""

import numpy as np
import pytest
from foreign_nets import onnx_net
from onnx import helper, numpy_helper

from segtool.errors import ExportError
from segtool.export.network.inside import scale_inside
from segtool.export.network.scaling import RAW, SCALES, InputScale, read_scale, scales_for

PIXELS = np.array([[[[0, 128, 255]]]], np.uint8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0..255", [0, 128, 255]),
        ("0..1", [0, 128 / 255, 1]),
        ("-1..1", [-1, 128 / 127.5 - 1, 1]),
        ("imagenet", [(0 - 123.675) / 58.395, (128 - 116.28) / 57.12, (255 - 103.53) / 57.375]),
        ("caffe", [255 - 103.939, 128 - 116.779, 0 - 123.68]),
        ("127/128", [-127 / 128, 1 / 128, 1]),
        ("1,2,3/4,5,6", [-0.25, 25.2, 42]),
        ("10,20,30/1:bgr", [245, 108, -30]),
        ("-5/2", [2.5, 66.5, 130]),
    ],
)
def test_a_scaling_is_applied_as_it_says(text, expected):
    found = read_scale(text, 3).apply(PIXELS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, 0, 0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("text", ["0-1", "1/0", "a/b", "1,2/3", "", "1/2:gbr", "nan/1", "1/inf", "1/2/3", "-1/-2"])
def test_another_text_is_refused_with_the_choices(text):
    with pytest.raises(ExportError, match=r"imagenet|one number"):
        read_scale(text, 3)


@pytest.mark.parametrize("text", ["imagenet", "caffe", "1/2:bgr", "1,2,3/1"])
def test_a_grey_network_has_no_scaling_of_colours(text):
    with pytest.raises(ExportError, match="channel"):
        read_scale(text, 1)
    assert read_scale("0..1", 1) in scales_for(1)


def with_first(*operations):
    """A network whose first operations are these: name and constant."""
    model = onnx_net(RAW)
    graph, tensor, nodes = model.graph, "input", []
    for number, (kind, value) in enumerate(operations):
        inputs = [tensor]
        if value is not None:
            inputs.append(f"k{number}")
            graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), inputs[1]))
        attributes = {"perm": [0, 1, 2, 3]} if kind == "Transpose" else {}
        nodes.append(helper.make_node(kind, inputs, [f"s{number}"], **attributes))
        tensor = f"s{number}"
    graph.node[0].input[0] = tensor
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return model


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        ((("Mul", 1 / 255),), "0..255"),
        ((("Transpose", None), ("Div", 127.5), ("Sub", 1)), "0..255"),
        ((("Sub", [[[123]], [[116]], [[103]]]), ("Div", [[[58]], [[57]], [[57]]])), "0..255"),
        ((("Mul", 1 / 255), ("Sub", 0.45), ("Div", 0.226)), "0..255"),
        ((("Sub", 0.45), ("Div", 0.226)), "0..1"),
        ((("Mul", 2), ("Sub", 1)), "0..1"),
        ((("Div", 255), ("Sub", [[[0.406]], [[0.456]], [[0.485]]]), ("Div", 0.226)), "0/1:bgr"),
        ((("Mul", 255), ("Sub", [[[103.939]], [[116.779]], [[123.68]]])), "0/255:bgr"),
        ((("Sub", 0.5),), None),
        ((("Relu", None), ("Mul", 1 / 255)), None),
        ((), None),
    ],
)
def test_a_network_that_scales_shows_what_is_left_to_do(operations, left):
    found = scale_inside(with_first(*operations))
    assert (found and found.name) == left


def test_a_scaling_is_stated_in_the_contract():
    facts = InputScale("127/128", (127.0,), (128.0,)).facts()
    assert facts == {"name": "127/128", "mean": [127.0], "std": [128.0], "order": "rgb"}
    assert {scale.name for scale in SCALES} == {"0..255", "0..1", "-1..1", "imagenet", "caffe"}
