"""Equalized channels: the same outputs bit for bit, and ranges that eight bits can serve."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from segtool.export.equalize import equalize


def _model(*, activation: str = "LeakyRelu", second_user: bool = False, shared: bool = False) -> onnx.ModelProto:
    """Pixels, a convolution whose channels differ a hundredfold, an activation, a convolution."""
    rng = np.random.default_rng(0)
    first = np.abs(rng.normal(size=(6, 1, 3, 3))) * np.geomspace(0.01, 1, 6)[:, None, None, None]
    weights = {
        "w1": first.astype(np.float32),
        "b1": (rng.normal(size=6) * np.geomspace(0.01, 1, 6)).astype(np.float32),
        "w2": rng.normal(size=(4, 6, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(activation, ["a"], ["f"]),
        helper.make_node("Conv", ["f", "w2"], ["y"], pads=[1, 1, 1, 1]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    if second_user:
        nodes.append(helper.make_node("Identity", ["f"], ["z"]))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    if shared:
        nodes.append(helper.make_node("Conv", ["f", "w2"], ["z"], pads=[1, 1, 1, 1]))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 9, 1])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "pair", [image], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _run(model: onnx.ModelProto, images: np.ndarray, tensor: str | None = None) -> np.ndarray:
    if tensor:
        model.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run([tensor] if tensor else None, {"image": images})[0]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 8, 9, 1), dtype=np.uint8)


def _spread(model: onnx.ModelProto, images: np.ndarray) -> float:
    largest = np.abs(_run(model, images, "f")).max((0, 2, 3))
    return float(largest.max() / largest.min())


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu"])
def test_ranges_meet_and_outputs_stay(activation: str, images: np.ndarray) -> None:
    model = _model(activation=activation)
    equalized = equalize(model, iter([images[:3], images[3:]]))
    np.testing.assert_array_equal(_run(equalized, images), _run(model, images))
    assert _spread(_model(activation=activation), images) > 50
    assert _spread(equalized, images) <= 2


def test_it_is_idempotent(images: np.ndarray) -> None:
    once = equalize(_model(), [images])
    assert equalize(once, [images]) == once


@pytest.mark.parametrize("changes", [{"activation": "Sigmoid"}, {"second_user": True}, {"shared": True}])
def test_it_leaves_alone_what_would_change(changes: dict[str, object], images: np.ndarray) -> None:
    model = _model(**changes)
    assert equalize(model, [images]) == model


def test_a_channel_that_is_always_zero_is_left_alone(images: np.ndarray) -> None:
    model = _model(activation="Relu")
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "b1"):
            value = numpy_helper.to_array(tensor).copy()
            value[2] = 0
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    equalized = equalize(model, [images])
    np.testing.assert_array_equal(_run(equalized, images), _run(model, images))
