"""The graph of a network in the export's form gives what the network gives, with NumPy around it."""

import itertools

import numpy as np
import onnxruntime
import pytest
from foreign_nets import onnx_net, shades
from onnx import numpy_helper
from tiny_nets import CLASSES, HEIGHT, WIDTH

from segtool.export.heads import end_of, with_head
from segtool.export.network.interface import Tensor, image_input, score_output
from segtool.export.network.reference import reference
from segtool.export.network.scaling import SCALES
from segtool.export.network.uniform import Reading, uniform

SIZE = (HEIGHT, WIDTH)
KINDS = {"softmax": "probabilities", "logits": "logits", "sigmoid": "sigmoid", "hidden softmax": "probabilities"}
FORMS = [
    (form, classes, end)
    for form, classes, end in itertools.product(("map", "pixels", "plane"), (1, CLASSES), KINDS)
    if not (form == "plane" and classes > 1) and not (classes == 1 and "softmax" in end)
]


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]


def read(model, *, layout, scale, end, threshold=0.5, classes=CLASSES):
    sides = [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim]
    taken = image_input([Tensor("input", (None, *SIZE, 3) if layout == "NHWC" else (None, 3, *SIZE))], source="net")
    given = score_output([1, *sides[1:]], taken, SIZE, classes=classes)
    return Reading(taken, given, SIZE, scale, KINDS[end], threshold)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize(("form", "classes", "end"), FORMS)
def test_every_form_of_output_becomes_the_same(layout, stride, form, classes, end):
    images, labels = shades(6)
    for number, scale in enumerate(SCALES):
        model = onnx_net(scale, layout=layout, form=form, classes=classes, end=end, stride=stride)
        threshold = (0.5, 0.3)[number % 2] if classes == 1 else 0.5
        reading = read(model, layout=layout, scale=scale, end=end, threshold=threshold, classes=max(2, classes))
        graph, expected = uniform(model, reading), reference(run(model), reading)(images)
        assert expected.shape == (*labels.shape, reading.classes)
        np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(run(with_head(graph, "probabilities"))(images), expected, atol=1e-4)
        found = run(with_head(graph, "labels"))(images)
        assert found.dtype == np.uint8
        assert (found == expected.argmax(-1)).mean() > 0.999
        truth = (labels == 2).astype(int) if classes == 1 else labels
        if stride == 1:
            wrong = found[labels != 1] != truth[labels != 1]  # one score says nothing of the class between
            assert wrong.mean() < 0.01
        if end_of(graph) == "logits" or stride == 1:
            logits = run(with_head(graph, "logits"))(images)
            powers = np.exp(logits - logits.max(-1, keepdims=True))
            np.testing.assert_allclose(powers / powers.sum(-1, keepdims=True), expected, atol=1e-4)


def test_a_wrong_reading_is_seen():
    images, _ = shades(2)
    model = onnx_net(SCALES[0], layout="NCHW")
    right = read(model, layout="NCHW", scale=SCALES[0], end="logits")
    wrong = read(model, layout="NCHW", scale=SCALES[1], end="logits")
    difference = np.abs(reference(run(model), right)(images) - reference(run(model), wrong)(images)).max()
    assert difference > 0.1


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)
def test_colours_keep_their_channels(layout, scale):
    """In pictures of all colours, by a network whose channels differ: the others here are of grey ones."""
    random = np.random.default_rng(2)
    model = onnx_net(scale, layout=layout)
    spread = 0.01 if scale.std == (1.0,) else 1.0  # so that no probability is 0 or 1
    for item in model.graph.initializer:
        if item.dims and item.dims[0] == CLASSES and list(item.dims) != [CLASSES, 3, 3, 3]:
            values = random.normal(0, spread, item.dims) if len(item.dims) == 4 else np.zeros(item.dims)
            item.CopyFrom(numpy_helper.from_array(values.astype(np.float32), item.name))
    images = random.integers(0, 256, (2, *SIZE, 3), np.uint8)
    reading = read(model, layout=layout, scale=scale, end="logits")
    expected = reference(run(model), reading)(images)
    assert np.abs(reference(run(model), reading)(images[..., ::-1]) - expected).max() > 1e-3
    found = run(with_head(uniform(model, reading), "probabilities"))(images)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("end", ["sigmoid", "logits"])
def test_one_score_is_its_class_above_the_threshold(threshold, end):
    images, _ = shades(4)
    model = onnx_net(SCALES[0], layout="NCHW", classes=1, end=end)
    reading = read(model, layout="NCHW", scale=SCALES[0], end=end, threshold=threshold, classes=2)
    score = run(model)(SCALES[0].apply(images).transpose(0, 3, 1, 2))[:, 0].astype(np.float64)
    share = score if end == "sigmoid" else 1 / (1 + np.exp(-score))
    found = run(with_head(uniform(model, reading), "labels"))(images)
    clear = np.abs(share - threshold) > 1e-5
    assert (found == (share > threshold))[clear].all()


def test_names_of_the_export_inside_a_network_do_not_collide():
    images, _ = shades(2)
    model = onnx_net(SCALES[0])
    graph = model.graph
    for old, new in (("v0", "labels"), ("v1", "class_id"), ("input", "image"), ("out", "logits")):
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
    graph.input[0].name, graph.output[0].name = "image", "logits"
    reading = read(model, layout="NCHW", scale=SCALES[0], end="logits")
    expected = reference(run(model), reading)(images)
    for head in ("labels", "logits", "probabilities"):
        found = run(with_head(uniform(model, reading), head))(images)
        assert (found if head == "labels" else found.argmax(-1)).tolist() == expected.argmax(-1).tolist()
