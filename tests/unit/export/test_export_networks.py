"""Networks of other people: what they end in, how their outputs are packed, how they are called, what they pool by."""

import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from tiny_nets import CLASSES, HEIGHT, WIDTH, build_tiny, tiny_data, write_run

import segtool.runtime.opening
from segtool.export import ExportOptions, export_model
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.models.keras_file import load_keras_file, with_plain_ends

LOOSE = {"quantize": True, "max_drop": 100, "waive": ("speed",), "winograd": "off"}


def pooled(*, names=("net", "image", "conv", "pool", "end"), packed=lambda x: x, softmax=True, factor=1.0):
    """A network with an average pooling between convolutions."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    network, first, conv, pool, end = names
    image = keras.Input((HEIGHT, WIDTH, 1), dtype="uint8", name=first)
    x = layers.Rescaling(1 / 255)(image)
    x = skip = layers.Conv2D(8, 3, padding="same", activation="relu", name=conv)(x)
    x = layers.AveragePooling2D(2, name=pool)(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Concatenate()([layers.UpSampling2D(2)(x), skip])
    kernel = keras.initializers.RandomNormal(stddev=factor, seed=1)
    x = layers.Conv2D(CLASSES, 1, name=end, kernel_initializer=kernel)(x)
    return keras.Model(packed(image), packed(layers.Softmax()(x) if softmax else x), name=network)


def scalar_constants(model):
    """The shapes of the scales and zero points of whole maps."""
    graph = onnx.load(model).graph
    shapes = {item.name: list(item.dims) for item in graph.initializer}
    made = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    return [shapes[name] for node in made if node.input[0] not in shapes for name in node.input[1:]]


def test_average_pooling_becomes_int8(tmp_path):
    result = export_model(write_run(tmp_path / "run", pooled()), options=ExportOptions(**LOOSE))
    found = scalar_constants(result.int8)
    assert found
    assert not any(found)
    assert result.int8_contract.gates["accuracy"]["label_agreement"] > 0.9


@pytest.mark.parametrize(
    "names",
    [
        ("My U-Net", "my image", "größe 1 (a)", "b'n", "r:0"),
        ("模型", "картинка", "слой №1", "-", "#"),
        ("_net", "image", "\N{GRINNING FACE}", "a b", "a_b"),
        ("a\\b", "x", "conv.1", "conv>2", "c@d"),
    ],
)
def test_names_of_all_kinds(names):
    """TensorFlow's scopes take letters, digits and a few signs of ASCII alone."""
    model = pooled(names=names)
    given = [layer.name for layer in model.layers]
    images = tiny_data(3)[0]
    session = onnxruntime.InferenceSession(keras_to_onnx(model).SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"image": images})[0], np.asarray(model(images)), atol=1e-5)
    assert (model.name, [layer.name for layer in model.layers]) == (names[0], given)


@pytest.mark.parametrize("packed", [lambda x: [x], lambda x: {"mask": x}], ids=["list", "dict"])
def test_one_output_in_a_list_or_dict_is_that_output(tmp_path, recwarn, packed):
    run = write_run(tmp_path / "run", pooled(packed=packed))
    images = tiny_data(3)[0]
    expected = np.asarray(pooled()(images))
    np.testing.assert_array_equal(np.asarray(with_plain_ends(load_keras_file(run / "model.keras"))(images)), expected)
    result = export_model(run, options=ExportOptions(winograd="off"))
    found = segtool.runtime.opening.load(result.float32, provider="cpu").run(images)
    np.testing.assert_array_equal(found, expected.argmax(-1))
    assert not [item for item in recwarn if "structure" in str(item.message)]


def test_the_advice_that_keras_warns_of_is_not_shown(tmp_path, recwarn):
    """A file of Keras 2's names: Keras warns of them, with the path of its own file, and reads them."""
    run = write_run(tmp_path / "run", build_tiny())
    with zipfile.ZipFile(run / "model.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(b'"negative_slope"', b'"alpha"')
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    load_keras_file(run / "model.keras")
    assert not [item for item in recwarn if "alpha" in str(item.message)]


def test_several_outputs_are_refused_in_one_sentence(tmp_path):
    import keras
    from keras import layers

    from segtool.cli import main

    one = pooled()
    two = keras.Model(one.input, {"main": one.output, "aux": layers.Softmax()(one.output)})
    result = CliRunner().invoke(main, ["export", str(write_run(tmp_path / "run", two))])
    assert result.exit_code == 1
    assert "--output main" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("head", ["labels", "logits", "probabilities"])
def test_logits_are_judged_behind_a_softmax(tmp_path, head):
    """An absolute limit on logits refuses those that are large for their rounding alone."""
    model = pooled(softmax=False, factor=3000)
    result = export_model(write_run(tmp_path / "run", model), options=ExportOptions(head=head, winograd="off"))
    images = tiny_data(3)[0]
    logits = np.asarray(model(images), np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    wanted = {
        "labels": logits.argmax(-1),
        "logits": logits,
        "probabilities": powers / powers.sum(-1, keepdims=True),
    }[head]
    found = segtool.runtime.opening.load(result.float32, provider="cpu").run(images)
    # The logits are sums of numbers of some hundreds, whose rounding depends on the processor.
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(10, np.abs(wanted).max()), rtol=1e-4)
    assert result.contract.gates["parity"]["max_difference"] < 1e-4


@pytest.mark.parametrize("head", ["logits", "probabilities"])
def test_the_scores_that_are_published_are_those_that_are_judged(run, monkeypatch, head):
    from segtool.errors import GateError
    from segtool.export import float32_file

    real = float32_file.with_head

    def halved(model, head):
        graph = real(model, head)
        scale = onnx.numpy_helper.from_array(np.float32(0.5), "half")
        graph.graph.initializer.append(scale)
        graph.graph.node[-1].output[0] = "whole"
        graph.graph.node.append(onnx.helper.make_node("Mul", ["whole", "half"], [graph.graph.output[0].name]))
        return graph

    monkeypatch.setattr(float32_file, "with_head", halved)
    with pytest.raises(GateError, match="Parity gate"):
        export_model(run, options=ExportOptions(head=head))


def test_a_network_in_logits_is_quantized_to_probabilities(tmp_path):
    folder = write_run(tmp_path / "run", build_tiny(softmax=False))
    result = export_model(folder, options=ExportOptions(head="probabilities", **LOOSE))
    for path in (result.float32, result.int8):
        segmenter = segtool.runtime.opening.load(path, provider="cpu")
        assert segmenter.verify().passed
        np.testing.assert_allclose(segmenter.run(tiny_data(2)[0]).sum(-1), 1, atol=1e-5)
