"""What cannot be exported: one sentence with what was found and what to do, and nothing left behind."""

import importlib.metadata
import json

import keras
import numpy as np
import pytest
from keras import layers
from tiny_nets import CLASSES, HEIGHT, WIDTH, build_tiny, names, tiny_data, write_run

from segtool.data.classes import numbered_classes
from segtool.errors import DataError, ExportError, ModelFileError
from segtool.export import ExportOptions, export_model, preflight
from segtool.export.keras_to_onnx import keras_to_onnx


def network(middle):
    image = keras.Input((HEIGHT, WIDTH, 1), dtype="uint8", name="image")
    x = middle(layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, layers.Softmax()(layers.Conv2D(CLASSES, 1)(x)), name="net")


def shared_twice(x):
    layer = layers.Activation(keras.ops.erfinv, name="twice")
    return layer(layer(x))


def nested(x):
    return keras.Sequential(
        [layers.Conv2D(4, 1), layers.Conv2D(4, 3, padding="same", activation=keras.ops.erfinv)], name="block"
    )(x)


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        (layers.Activation(keras.ops.erfinv, name="bent"), ["bent (Activation, layer 4 of 6)", "Erfinv"]),
        (keras.ops.erfinv, ["erfinv", "(Erfinv, layer 4 of 6)"]),
        (
            lambda x: layers.Add()([layers.Activation(keras.ops.erfinv, name="left")(x), x]),
            ["left (Activation, layer 4 of 7)"],
        ),
        (shared_twice, ["twice (Activation, layer 4 of 6)"]),
        (nested, ["block/conv2d", "(Conv2D, layer 5 of 7)", "Erfinv"]),
    ],
    ids=["activation", "operation", "branch", "shared", "nested"],
)
def test_a_layer_without_an_exact_conversion_is_named_with_its_place(middle, words, capfd):
    with pytest.raises(ExportError) as refused:
        keras_to_onnx(network(middle))
    for word in (*words, "no exact conversion", "replace it"):
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "Unsupported" not in capfd.readouterr().err


def test_such_a_layer_leaves_nothing(tmp_path):
    # erfinv is finite between -1 and 1 alone, and NaN outputs are refused before the conversion.
    folder = write_run(tmp_path / "run", network(lambda x: keras.ops.erfinv(0.5 * keras.ops.tanh(x))))
    with pytest.raises(ExportError, match="erfinv"):
        export_model(folder, options=ExportOptions(quantize=True))
    assert names(folder) == ["model.keras", "run.json"]


@keras.saving.register_keras_serializable("mine")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            lambda: layers.Lambda(lambda x: 2 * x, output_shape=(16, 20, 4), name="odd"),
            ["keras.layers.Lambda", "'odd' (4 of 6)"],
        ),
        (lambda: Doubled(name="own"), ["Doubled", "'own' (4 of 6)"]),
        (
            lambda: keras.Sequential([Doubled(name="deep")], name="block"),
            ["'deep' (2 of 2, in layer 'block' (4 of 6))"],
        ),
    ],
    ids=["lambda", "custom", "nested"],
)
def test_a_layer_that_is_not_opened_is_named_with_its_place(tmp_path, layer, words):
    folder = write_run(tmp_path / "run", network(layer()))
    with pytest.raises(ModelFileError) as refused:
        export_model(folder)
    for word in words:
        assert word in str(refused.value)
    assert names(folder) == ["model.keras", "run.json"]


def test_weights_that_are_no_numbers_are_named(tmp_path):
    model = build_tiny()
    kernel, bias = model.layers[3].get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.layers[3].set_weights([kernel, bias])
    folder = write_run(tmp_path / "run", model)
    with pytest.raises(ExportError, match=rf"{model.layers[3].name}/kernel holds NaN.*train again"):
        export_model(folder, options=ExportOptions(quantize=True))
    assert names(folder) == ["model.keras", "run.json"]


def test_classes_of_other_names_are_refused(run, tmp_path):
    images, labels = tiny_data(20, seed=9)
    other = tmp_path / "other.npz"
    info = json.loads((run / "run.json").read_text())
    info["data"]["class_names"] = ["ground", "car", "tree"]
    (run / "run.json").write_text(json.dumps(info))
    np.savez(other, images=images[..., 0], labels=labels, class_names=np.array(["ground", "tree", "car"]))
    with pytest.raises(DataError, match=r"class 1 'tree', the model 'car'.*same order"):
        export_model(run, options=ExportOptions(data=str(other)))
    assert names(run) == ["model.keras", "run.json"]
    # Data that name no classes are taken by their number.
    np.savez(other, images=images[..., 0], labels=labels)
    assert numbered_classes(3).names == ("class 0", "class 1", "class 2")
    assert export_model(run, options=ExportOptions(data=str(other))).float32.exists()


def test_images_of_another_size_are_resized_with_a_warning(run, tmp_path, caplog):
    images, labels = tiny_data(20, seed=9)
    large = tmp_path / "large.npz"
    np.savez(large, images=images[..., 0].repeat(2, 1).repeat(2, 2), labels=labels.repeat(2, 1).repeat(2, 2))
    export_model(run, options=ExportOptions(data=str(large)))
    assert "images of 32 x 40, the model takes 16 x 20: they are resized" in caplog.text
    caplog.clear()
    export_model(run, options=ExportOptions(overwrite=True))
    assert "resized" not in caplog.text


def test_too_few_training_images_are_refused_before_anything_is_written(run, tmp_path):
    images, labels = tiny_data(9, seed=9)
    np.savez(tmp_path / "few.npz", images=images[..., 0], labels=labels)
    options = ExportOptions(quantize=True, data=str(tmp_path / "few.npz"))
    with pytest.raises(DataError, match=r"6 training images.*8 or more.*without --quantize"):
        export_model(run, options=options)
    assert names(run) == ["model.keras", "run.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExportOptions(calibration="magic"), "'magic'; choose auto, min-max, mse\\."),
        (ExportOptions(calibration_images=7), "7 calibration images.*8 or more"),
        (ExportOptions(waive=("speed", "quality")), "no gate 'quality'.*parity, trained, accuracy, speed"),
        (ExportOptions(opset=19), "Opset 19.*13 to 18.*leave --opset out"),
    ],
)
def test_options_that_do_not_exist_leave_nothing(run, options, message):
    with pytest.raises(ExportError, match=message):
        export_model(run, options=ExportOptions(**{**vars(options), "quantize": True}))
    assert names(run) == ["model.keras", "run.json"]


def installed(monkeypatch, **changes):
    real = importlib.metadata.version
    monkeypatch.setattr(preflight.importlib.metadata, "version", lambda name: changes.get(name) or real(name))


def test_the_libraries_here_are_tested():
    preflight.check_versions()


def test_a_library_outside_the_tested_range_is_named_with_the_pip_line(run, monkeypatch):
    installed(monkeypatch, tf2onnx="1.99.0", keras="3.1.0")
    with pytest.raises(ExportError) as refused:
        export_model(run)
    text = str(refused.value)
    assert "tf2onnx 1.99.0 (tested: <1.18,>=1.17)" in text
    assert "keras 3.1.0" in text
    assert 'run pip install "keras<' in text
    assert '"tf2onnx<1.18,>=1.17"' in text
    assert names(run) == ["model.keras", "run.json"]


@pytest.mark.parametrize(
    ("requirement", "version", "refused"),
    [
        ('tf2onnx>=1.17,<1.18; extra == "export"', "1.17.9", False),
        ('tf2onnx>=1.17,<1.18; extra == "export"', "1.16", True),
        ('tf2onnx>=1.17,<1.18; extra == "export"', "1.17.1rc1", False),
        ('tf2onnx>=9; extra == "bench"', "1.17", False),
        ("tf2onnx>=9", "1.17", False),
        ('not-installed-at-all>=9; extra == "export"', "1.17", False),
        ('tf2onnx>=9; extra == "export" and python_version < "3"', "1.17", False),
    ],
)
def test_ranges_come_from_the_package_metadata(monkeypatch, requirement, version, refused):
    monkeypatch.setattr(preflight.importlib.metadata, "requires", lambda _: [requirement])
    installed(monkeypatch, tf2onnx=version)
    if not refused:
        preflight.check_versions()
        return
    with pytest.raises(ExportError, match=r"tf2onnx 1\.16"):
        preflight.check_versions()


def test_without_an_installation_nothing_is_compared(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(preflight.importlib.metadata, "requires", missing)
    preflight.check_versions()
