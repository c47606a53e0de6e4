"""fcn8-edge: its size, any image, and an INT8 file in which everything but the scores is integer."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_nets import quantized

from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import FLOAT_REWRITES, SHARED_REWRITES, rewrite
from segtool.export.presets import PRESETS
from segtool.export.running import label_agreement, run_labels
from segtool.train.architectures import build


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network with normalizations that are not neutral, as after a training."""
    keras.utils.set_random_seed(0)
    model = build("fcn8-edge", size=(64, 84), channels=1, num_classes=11)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([item + random.uniform(0.05, 0.3, item.shape) for item in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def converted(network: keras.Model) -> onnx.ModelProto:
    return with_head(keras_to_onnx(network), "labels")


@pytest.fixture(scope="module")
def base(converted: onnx.ModelProto) -> onnx.ModelProto:
    return rewrite(converted, SHARED_REWRITES)[0]


def images(count: int, size: tuple[int, int] = (64, 84), channels: int = 1) -> np.ndarray:
    random = np.random.default_rng(1)
    smooth = random.integers(0, 256, (count, size[0] // 4 + 1, size[1] // 4 + 1, channels), np.uint8)
    return smooth.repeat(4, 1).repeat(4, 2)[:, : size[0], : size[1]]


def test_it_has_a_thirtieth_of_fcn8s_parameters(network: keras.Model) -> None:
    assert network.count_params() == 302_600


@pytest.mark.parametrize(("name", "least", "most"), [("fcn8-edge-half", 0.2, 0.35), ("fcn8-edge-double", 3, 4.2)])
def test_the_width_is_a_multiplier(network: keras.Model, name: str, least: float, most: float) -> None:
    other = build(name, size=(64, 84), channels=1, num_classes=11)
    assert least < other.count_params() / network.count_params() < most


@pytest.mark.parametrize(("name", "own"), [("fcn8-edge", 1), ("fcn8-edge-half", 0.5), ("fcn8-edge-double", 2)])
def test_a_width_multiplies_that_of_the_name(name: str, own: float) -> None:
    model = build(name, size=(64, 84), channels=1, num_classes=11, width=1.5)
    for layer, channels in (("half", 16), ("quarter2", 64), ("eighth3", 96), ("up8", 16), ("refine1", 32)):
        assert model.get_layer(layer).filters == max(16, round(channels * own * 1.5 / 8) * 8)
    assert model.get_layer("scores").filters == 11


def test_no_layer_is_too_narrow_for_the_classes_to_pass() -> None:
    model = build("fcn8-edge-half", size=(64, 84), channels=1, num_classes=11)
    assert [model.get_layer(name).filters for name in ("half", "up8", "up4", "refine1")] == [16] * 4


@pytest.mark.parametrize(("size", "channels", "classes"), [((64, 84), 1, 11), ((37, 51), 3, 2), ((8, 8), 1, 300)])
def test_any_image_is_answered_at_its_size(size: tuple[int, int], channels: int, classes: int) -> None:
    model = build("fcn8-edge", size=size, channels=channels, num_classes=classes)
    answer = np.asarray(model.predict_on_batch(images(2, size, channels)))
    assert answer.shape == (2, *size, classes)
    np.testing.assert_allclose(answer.sum(-1), 1, atol=1e-5)


def test_it_tells_black_from_nearly_black_from_the_start(network: keras.Model) -> None:
    tones = keras.Model(network.inputs, network.get_layer("tones").output)
    grey = np.zeros((1, 64, 84, 1), np.uint8)
    grey[0, 0, 1] = 2
    black, faint = np.asarray(tones.predict_on_batch(grey))[0, 0, :2]
    np.testing.assert_allclose(black, [0, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(faint, [2 / 255, 1 - 8 / 255, 1 - 32 / 255, 1 - 128 / 255], atol=1e-6)


def test_the_float_file_has_no_trace_of_normalizations(converted: onnx.ModelProto) -> None:
    graph, _ = rewrite(converted, (*SHARED_REWRITES, *FLOAT_REWRITES))
    kinds = [node.op_type for node in graph.graph.node]
    assert not {"Add", "Pad", "BatchNormalization", "Softmax"} & set(kinds)
    assert kinds.count("Mul") == 1  # of the pixels
    assert kinds.count("ConvTranspose") == 2  # the third, which scores, is a matrix product in front of the arg-max


def test_everything_but_the_scores_is_int8(base: onnx.ModelProto) -> None:
    result = quantized(base, lambda: iter([images(16)]), preset=PRESETS["vnni"])
    assert len(result.layers) == 10  # eight convolutions and two upsamplings
    graph = result.model.graph
    kinds = [node.op_type for node in graph.node]
    assert "ConvTranspose" not in kinds
    integers = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Concat")]
    assert len(layers) == 11
    assert all(name in integers for node in layers for name in node.input)
    pixels = [images(16)]
    assert label_agreement(run_labels(base, iter(pixels)), run_labels(result.model, iter(pixels))) > 0.9


def test_what_is_put_side_by_side_has_one_scale(base: onnx.ModelProto) -> None:
    graph = quantized(base, lambda: iter([images(16)]), preset=PRESETS["vnni"], strengths=[0.0]).model.graph
    producer = {name: node for node in graph.node for name in node.output}
    reader = {name: node for node in graph.node for name in node.input}
    (concat,) = (node for node in graph.node if node.op_type == "Concat")
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    scales = {constants[producer[name].input[1]].item() for name in concat.input}
    scales.add(constants[reader[concat.output[0]].input[1]].item())
    assert len(scales) == 1
