"""Legacy .h5 files are opened like .keras files; files of other kinds are refused with the lines to paste."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from tiny_nets import build_tiny, tiny_data

from segtool.errors import ModelFileError
from segtool.models.keras_file import load_keras_file
from segtool.models.resolve import find_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def without_modules(value):
    """A configuration as Keras 2 writes it: classes without modules and registered names."""
    if isinstance(value, list):
        return [without_modules(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    return {key: without_modules(item) for key, item in value.items() if key not in ("module", "registered_name")}


@pytest.fixture
def legacy(tmp_path):
    """A file of Keras 2, and a function that changes it in place."""
    import h5py

    path = tmp_path / "model.h5"
    model = build_tiny()
    model.compile("adam", "mse")
    model.save(path)

    def change(edit=None, layer=None):
        with h5py.File(path, "r+") as file:
            config = without_modules(json.loads(file.attrs["model_config"]))
            if layer:
                config["config"]["layers"][1] |= layer
            file.attrs["model_config"] = json.dumps(config)
            if edit:
                edit(file, h5py)

    change()
    return path, change


def test_it_gives_the_same_outputs_and_is_not_compiled(legacy):
    images, _ = tiny_data(4)
    opened = load_keras_file(legacy[0])
    np.testing.assert_allclose(np.asarray(opened(images)), np.asarray(build_tiny()(images)), atol=1e-6)
    assert not opened.compiled


def test_it_is_found_by_its_name(legacy):
    assert find_model(legacy[0], kind="keras").kind == "keras"


def test_a_file_of_keras_3_in_this_format_opens_too(tmp_path):
    build_tiny().save(tmp_path / "model.h5")
    assert load_keras_file(tmp_path / "model.h5").outputs


def test_hostile_training_configuration_is_not_even_copied(legacy):
    legacy[1](lambda file, _: file.attrs.__setitem__("training_config", '{"loss": {"class_name": "Lambda"}}'))
    assert load_keras_file(legacy[0]).outputs


@pytest.mark.parametrize("name", ["Lambda", "TFOpLambda", "Custom>Mine", "serialize"])
def test_code_is_refused_by_name(legacy, name):
    legacy[1](layer={"class_name": name})
    with pytest.raises(ModelFileError, match=rf"{name}.*not opened"):
        load_keras_file(legacy[0])


@pytest.mark.parametrize(
    "edit",
    [
        lambda file, h5py: file["model_weights"].__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file, h5py: file["model_weights"].__setitem__("x", h5py.SoftLink("/elsewhere")),
        lambda file, _: file["model_weights"].create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)]),
    ],
)
def test_weights_that_point_to_other_files_are_refused(legacy, edit):
    legacy[1](edit)
    with pytest.raises(ModelFileError, match=r"link|another file"):
        load_keras_file(legacy[0])


@pytest.mark.parametrize("text", ["{", "[" * 50_000, "[]", "null"])
def test_a_damaged_configuration_is_refused(legacy, text):
    legacy[1](lambda file, _: file.attrs.__setitem__("model_config", np.void(text.encode())))
    with pytest.raises(ModelFileError, match="model"):
        load_keras_file(legacy[0])


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(legacy, share):
    data = legacy[0].read_bytes()
    legacy[0].write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="damaged"):
        load_keras_file(legacy[0])


def test_weights_alone_say_how_to_save_both(tmp_path):
    build_tiny().save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ModelFileError, match=r'weights only.*model\.load_weights\("x\.weights\.h5"\); model\.save'):
        load_keras_file(tmp_path / "x.weights.h5")


def torch_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize(
    ("write", "line"),
    [
        (torch_archive, r"PyTorch.*torch\.onnx\.export\("),
        (lambda path: path.write_bytes(pickle.dumps({})), r"pickle.*torch\.onnx\.export\("),
        (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(20)), r"TensorFlow Lite.*tf2onnx\.convert --tflite"),
    ],
)
def test_files_of_others_say_how_to_convert(tmp_path, write, line):
    write(tmp_path / "model.pt")
    with pytest.raises(ModelFileError, match=line):
        load_keras_file(tmp_path / "model.pt")


def test_a_saved_model_folder_says_how_to_convert(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"SavedModel.*tf2onnx\.convert --saved-model"):
        find_model(tmp_path)
