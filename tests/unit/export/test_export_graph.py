"""Keras to ONNX and its heads: exact, symbolic in the batch alone, and refusing what it cannot do."""

import os
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest
from tiny_nets import CLASSES, HEIGHT, WIDTH, build_tiny, run, tiny_data

from segtool.errors import ExportError
from segtool.export.heads import end_of, with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.options import TESTED_OPSETS, ExportOptions
from segtool.export.preflight import check_options


def dims(value):
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


@pytest.fixture(scope="module", params=[1, 3])
def network(request):
    return build_tiny(request.param)


@pytest.fixture(scope="module")
def converted(network):
    return keras_to_onnx(network)


@pytest.fixture(scope="module")
def images(network):
    return tiny_data(5, channels=network.input_shape[-1])[0]


@pytest.fixture(scope="module")
def expected(network, images):
    return np.asarray(network(images, training=False))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_probabilities_are_those_of_keras(converted, images, expected, count):
    np.testing.assert_allclose(run(converted, images[:count]), expected[:count], atol=1e-6, rtol=0)


def test_the_interface_is_the_one_of_the_contract(converted, network):
    graph = converted.graph
    assert [item.name for item in graph.input] == ["image"]
    assert [item.name for item in graph.output] == ["probabilities"]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert dims(graph.input[0]) == ["N", HEIGHT, WIDTH, network.input_shape[-1]]
    assert dims(graph.output[0]) == ["N", HEIGHT, WIDTH, CLASSES]
    assert all(item.data_location == onnx.TensorProto.DEFAULT for item in graph.initializer)


def with_hard_swish():
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    for stride in (1, 2, 1):
        x = keras.layers.Conv2D(8, 3, strides=stride, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Activation("hard_swish")(x)
    return keras.Model(image, keras.layers.Conv2DTranspose(3, 2, strides=2, activation="softmax")(x))


def test_a_hard_swish_leaves_no_layout_transposes_and_no_warning(caplog):
    """tf2onnx's optimizer of layouts failed on the constant of x + 3, and said nothing."""
    network = with_hard_swish()
    with caplog.at_level("WARNING"):
        converted = keras_to_onnx(network)
    assert not caplog.messages
    assert sum(node.op_type == "Transpose" for node in converted.graph.node) == 2
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(run(converted, images), network.predict_on_batch(images), atol=1e-6)


def test_an_optimizer_of_tf2onnx_that_fails_is_told(network, caplog, monkeypatch):
    from tf2onnx import optimizer

    def fails():
        raise ValueError("no layout known")

    monkeypatch.setitem(optimizer._optimizers, "optimize_transpose", fails)
    with caplog.at_level("WARNING"):
        keras_to_onnx(network)
    assert "tf2onnx could not simplify the graph (Failed to apply optimize_transpose: no layout known)" in caplog.text


def test_the_same_network_gives_the_same_bytes(converted, network):
    keras_to_onnx(build_tiny())  # so that TensorFlow's counters differ
    first, second = (model.SerializeToString(deterministic=True) for model in (converted, keras_to_onnx(network)))
    assert first == second


def test_no_shape_is_computed_at_run_time(converted):
    kinds = [node.op_type for node in converted.graph.node]
    assert kinds.count("ConvTranspose") == 2
    assert not {"Shape", "Loop", "If", "Gather", "ConstantOfShape"} & set(kinds)
    # Layouts: one change at each end at most.
    assert kinds.count("Transpose") <= 2
    inferred = onnx.shape_inference.infer_shapes(converted, strict_mode=True, data_prop=True)
    unknown = [item.name for item in inferred.graph.value_info if not all(dims(item)[1:])]
    assert not unknown


@pytest.mark.parametrize("opset", TESTED_OPSETS)
def test_every_offered_opset_converts_exactly(opset):
    network, images = build_tiny(), tiny_data(3)[0]
    converted = keras_to_onnx(network, opset=opset)
    assert {item.version for item in converted.opset_import if not item.domain} == {opset}
    expected = np.asarray(network(images, training=False))
    np.testing.assert_allclose(run(converted, images), expected, atol=1e-6, rtol=0)
    assert (run(with_head(converted, "labels"), images) == expected.argmax(-1)).all()


@pytest.mark.parametrize("opset", [12, 19, 0])
def test_other_opsets_are_refused(opset):
    with pytest.raises(ExportError, match="13 to 18"):
        check_options(ExportOptions(opset=opset))


@pytest.mark.parametrize("count", [1, 5])
def test_labels_are_the_arg_max(converted, images, expected, count):
    labels = with_head(converted, "labels")
    found = run(labels, images[:count])
    assert found.dtype == np.uint8
    assert len(np.unique(expected.argmax(-1))) > 1
    np.testing.assert_array_equal(found, expected[:count].argmax(-1))
    assert dims(labels.graph.output[0]) == ["N", HEIGHT, WIDTH]
    assert "Softmax" not in [node.op_type for node in labels.graph.node]


def test_logits_are_what_the_softmax_gets(converted, images, expected):
    logits = run(with_head(converted, "logits"), images)
    assert logits.dtype == np.float32
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(-1, keepdims=True), expected, atol=1e-6)
    assert np.abs(logits - expected).max() > 0.01


def test_the_probabilities_head_leaves_the_graph_as_it_is(converted):
    assert with_head(converted, "probabilities") == converted


def ended(*steps, size=4):
    """A tiny network that ends in some layers, and what they take."""
    from keras import Input, Model, layers, utils

    utils.set_random_seed(2)
    image = Input((size, size, 1), dtype="uint8", name="image")
    x = scores = layers.Conv2D(3, 3, padding="same", name="score")(layers.Rescaling(1 / 25)(image))
    for kind, settings in steps:
        x = getattr(layers, kind)(**settings)(x)
    return Model(image, x), Model(image, scores)


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


# What networks end in: layers by name and arguments; what that is; what the logits and the probabilities heads give,
# of the scores before those layers and of what they give.
UP = ("UpSampling2D", {"size": 2, "interpolation": "bilinear"})
ENDS = {
    "nothing": ([], "logits", lambda scores, _: scores, lambda scores, _: softmax(scores)),
    "linear": ([("Activation", {"activation": "linear"})], "logits", lambda x, _: x, lambda x, _: softmax(x)),
    "relu": ([("ReLU", {})], "logits", lambda _, found: found, lambda _, found: softmax(found)),
    "resized logits": ([UP], "logits", lambda _, found: found, lambda _, found: softmax(found)),
    "softmax": ([("Softmax", {})], "probabilities", lambda x, _: x, lambda _, found: found),
    "activation": (
        [("Activation", {"activation": "softmax"})],
        "probabilities",
        lambda x, _: x,
        lambda _, found: found,
    ),
    "cropped": (
        [("Softmax", {}), ("Cropping2D", {"cropping": 1})],
        "probabilities",
        lambda scores, _: scores[:, 1:-1, 1:-1],
        lambda _, found: found,
    ),
    "reshaped": (
        [("Reshape", {"target_shape": (16, 3)}), ("Softmax", {}), ("Reshape", {"target_shape": (4, 4, 3)})],
        "probabilities",
        lambda scores, _: scores,
        lambda _, found: found,
    ),
    "class axis first": (
        [("Permute", {"dims": (3, 1, 2)}), ("Softmax", {"axis": 1}), ("Permute", {"dims": (2, 3, 1)})],
        "probabilities",
        lambda scores, _: scores,
        lambda _, found: found,
    ),
    "resized probabilities": ([("Softmax", {}), UP], "probabilities", None, lambda _, found: found),
    "softmax over rows": ([("Softmax", {"axis": 1})], "logits", lambda _, x: x, lambda _, x: softmax(x)),
    "a class cut off": (
        [
            ("Softmax", {}),
            ("Permute", {"dims": (3, 1, 2)}),
            ("Cropping2D", {"cropping": ((1, 0), (0, 0))}),
            ("Permute", {"dims": (2, 3, 1)}),
        ],
        "logits",
        lambda _, found: found,
        lambda _, found: softmax(found),
    ),
    "sigmoid": ([("Activation", {"activation": "sigmoid"})], "sigmoid", None, None),
}


@pytest.mark.parametrize("name", ENDS)
def test_heads_mean_the_same_whatever_the_network_ends_in(name):
    steps, end, *heads = ENDS[name]
    network, before = ended(*steps)
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
    converted = keras_to_onnx(network)
    scores, found = np.asarray(before(images)), np.asarray(network(images))
    assert end_of(converted) == end
    for head, wanted in zip(("logits", "probabilities"), heads, strict=True):
        if wanted is None:
            with pytest.raises(ExportError, match=f"{head}.*--head labels"):
                with_head(converted, head)
            continue
        graph = with_head(converted, head)
        assert [item.name for item in graph.graph.output] == [head]
        np.testing.assert_allclose(run(graph, images), wanted(scores, found), atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(run(with_head(converted, "labels"), images), found.argmax(-1))


def test_many_classes_give_uint16_labels():
    from keras import Input, Model, layers

    image = Input((4, 4, 1), dtype="uint8", name="image")
    scores = layers.Softmax()(layers.Conv2D(300, 1)(layers.Rescaling(1 / 255)(image)))
    labels = with_head(keras_to_onnx(Model(image, scores)), "labels")
    found = run(labels, np.full((1, 4, 4, 1), 255, np.uint8))
    assert found.dtype == np.uint16


def test_constants_that_several_layers_share_have_the_same_names_in_each_run():
    """The three ReLU6 have the same limits; the order of sets of texts differs between processes."""
    code = (
        "import sys, keras; from keras import layers; from segtool.export.keras_to_onnx import keras_to_onnx\n"
        "keras.utils.set_random_seed(0); x = image = keras.Input((8, 8, 3), name='image')\n"
        "for k in range(3): x = layers.ReLU(6.0, name=f'r{k}')(layers.Conv2D(4, 3, name=f'c{k}')(x))\n"
        "model = keras.Model(image, layers.Softmax(name='p')(layers.Conv2D(3, 1, name='s')(x)))\n"
        "print(*(item.name for item in keras_to_onnx(model).graph.initializer))"
    )
    runs = []
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        runs.append(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True))
    assert runs[0].stdout == runs[1].stdout
