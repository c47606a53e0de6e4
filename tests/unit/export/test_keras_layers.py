"""Each layer, activation and operation of Keras that a segmentation network may hold is converted exactly."""

import numpy as np
import onnx
import onnxruntime
import pytest
from keras_layer_networks import NETWORKS, SIZE, build, network
from tiny_nets import quantized

from segtool.errors import ExportError
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.presets import preset_for

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:UserWarning:keras"),
]
# What has no conversion. Each is refused by name; a conversion that is added makes its test fail here.
REFUSED: dict[str, str] = {
    "ConvLSTM2D": r"ConvLSTM2D, layer 5 of 7.*Loop",
    "GRU": r"GRU, layer 5 of 8.*Loop",
    "ops.cumsum, argmax, one_hot": r"argmax.*Argmax, layer 4 of 9.*Bitcast",
}
# In the default run: what has a conversion of its own, and one of each other kind.
QUICK = (
    "Conv2D groups 2",
    "Conv2D groups 2, strides 2",
    "Conv2DTranspose 5x3 strides 3, valid",
    "DepthwiseConv2D multiplier 2",
    "Dense on maps",
    "UpSampling2D nearest",
    "UpSampling2D lanczos3",
    "Resizing bicubic",
    "Resizing area",
    "Resizing, crop to aspect ratio",
    "Resizing, pad to aspect ratio",
    "Normalization",
    "MultiHeadAttention",
    "a nested model, used twice",
    "RandomFlip, RandomRotation, RandomZoom",
    "activation gelu",
    "activation celu",
    "ops.gelu erf",
    "ops.image.resize antialias",
    "ops.mean, sigmoid, multiply",
)


def images(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def run(graph):
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images()})[0]


def check_float32(model):
    expected = np.asarray(model(images(), training=False))
    converted = keras_to_onnx(model)
    np.testing.assert_allclose(run(converted), expected, atol=1e-4)
    rewritten, _ = rewrite(with_head(converted, "probabilities"), SHARED_REWRITES)
    np.testing.assert_allclose(run(rewritten), expected, atol=1e-4)
    return converted


def operators(graph):
    return [node.op_type for node in graph.graph.node]


@pytest.mark.parametrize("name", QUICK)
def test_it_is_converted_exactly(name):
    check_float32(build(name))


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in (*QUICK, *REFUSED)])
def test_every_other_one_is_converted_exactly(name):
    check_float32(build(name))


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_conversion_is_refused(name):
    with pytest.raises(ExportError, match=REFUSED[name]):
        keras_to_onnx(build(name))


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in REFUSED])
def test_it_becomes_int8(name):
    graph, _ = rewrite(with_head(keras_to_onnx(build(name)), "labels"), SHARED_REWRITES)
    made = quantized(graph, lambda: iter([images(8)]), preset=preset_for("vnni"))
    assert (run(made.model) == run(graph)).mean() > 0.8


def test_a_convolution_of_volumes_stays_in_float():
    graph, _ = rewrite(with_head(keras_to_onnx(build("Conv3D")), "labels"), SHARED_REWRITES)
    made = quantized(graph, lambda: iter([images(8)]), preset=preset_for("vnni"), strengths=(0.0,))
    assert len(made.layers) == 1
    assert (run(made.model) == run(graph)).mean() > 0.8


@pytest.mark.parametrize(("small", "large"), [(5, 9), (7, 11)])
def test_a_resize_whose_factor_float32_rounds_down_is_exact(small, large):
    """The product of such a factor with the length is just below the new length."""
    import keras

    assert int(small * float(np.float32(large / small))) < large
    image = keras.Input((small, small, 3))
    model = keras.Model(image, keras.layers.Resizing(large, large, interpolation="bilinear")(image))
    pixels = np.random.default_rng(0).random((2, small, small, 3), np.float32)
    session = onnxruntime.InferenceSession(keras_to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": pixels})[0], np.asarray(model(pixels)), atol=1e-6)


def test_a_grouped_convolution_is_one_convolution():
    convolutions = [node for node in check_float32(build("Conv2D groups 8")).graph.node if node.op_type == "Conv"]
    groups = [attribute.i for node in convolutions for attribute in node.attribute if attribute.name == "group"]
    assert sorted(groups) == [1, 1, 8]


def test_dense_on_maps_and_nearest_upsampling_need_no_shape_arithmetic():
    for name in ("Dense on maps", "UpSampling2D nearest"):
        assert "Shape" not in operators(check_float32(build(name)))


def test_constants_of_a_layer_are_in_the_file():
    graph = check_float32(build("Normalization")).graph
    assert [item.name for item in graph.input] == ["image"]
    assert onnx.checker.check_model(onnx.helper.make_model(graph)) is None


def test_the_network_is_left_as_it_was():
    """Tracing replaces calls of layers, and runs functions inline, only while it lasts."""
    import tensorflow as tf

    model = build("Dense on maps")
    keras_to_onnx(model)
    assert not [layer.name for layer in model._flatten_layers() if "call" in vars(layer)]
    assert not tf.config.functions_run_eagerly()


def test_the_tests_comparison_refuses_another_network():
    model = network(NETWORKS["Conv2D 3x3"])
    converted = keras_to_onnx(model)
    model.layers[2].bias.assign(model.layers[2].bias + 0.1)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run(converted), np.asarray(model(images())), atol=1e-4)
