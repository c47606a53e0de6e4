"""Opening .keras files: what segtool trains opens, whatever could run code does not."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from tiny_nets import build_tiny, tiny_data

from segtool.errors import ModelFileError
from segtool.models.config_check import check_config
from segtool.models.keras_file import load_keras_file


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model = build_tiny()
    model.compile("adam", "mse")
    model.save(path)
    return path


def rewritten(source, target, *, config=None, add=(), drop=(), weights=None):
    """A copy of an archive with its parsed config changed in place by `config`, and members added or dropped."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as result:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "config.json" and config:
                parsed = json.loads(data)
                config(parsed)
                data = json.dumps(parsed).encode()
            if name == "model.weights.h5" and weights is not None:
                data = weights
            if name not in drop:
                result.writestr(name, data)
        for name, data in add:
            result.writestr(name, data)
    return target


def test_a_saved_model_opens_and_gives_the_same_answers(saved):
    images, _ = tiny_data(4)
    expected = np.asarray(build_tiny()(images, training=False))
    np.testing.assert_allclose(np.asarray(load_keras_file(saved)(images, training=False)), expected, atol=1e-6)


def test_a_lambda_is_refused_and_not_run(tmp_path):
    import keras

    trace = tmp_path / "trace"
    inputs = keras.Input((4, 4, 1))
    source = f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]"
    outputs = keras.layers.Lambda(eval(source))(inputs)  # noqa: S307
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    trace.unlink()  # building the model ran it once
    with pytest.raises(ModelFileError, match=r"keras\.layers\.Lambda.*not opened"):
        load_keras_file(tmp_path / "model.keras")
    assert not trace.exists()
    # The file really is the attack that it is meant to be.
    keras.saving.load_model(tmp_path / "model.keras", safe_mode=False)
    assert trace.exists()


@pytest.mark.parametrize(
    ("hostile", "named"),
    [
        ({"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}, "os.system"),
        ({"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}, "builtins"),
        ({"class_name": "__lambda__", "config": {"value": ["4wA=", None, None]}}, "__lambda__"),
        ({"class_name": "__typespec__", "module": "os", "config": []}, "os.__typespec__"),
        (
            {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "x"}, "registered_name": None},
            "TFSMLayer",
        ),
        ({"module": "keras.utils", "class_name": "get_file", "config": {}, "registered_name": None}, "get_file"),
        ({"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": "Evil>Layer"}, "Evil>Layer"),
        ({"class_name": "system"}, "system"),
        ({"module": ["os"], "class_name": {"a": 1}}, "os"),
    ],
)
def test_a_configuration_that_names_code_is_refused(saved, tmp_path, hostile, named):
    def plant(config):
        config["config"]["layers"][1]["config"]["scale"] = hostile

    with pytest.raises(ModelFileError) as refused:
        load_keras_file(rewritten(saved, tmp_path / "model.keras", config=plant))
    assert named in str(refused.value)


def test_a_hostile_compile_config_is_not_even_looked_at(saved, tmp_path):
    def plant(config):
        config["compile_config"] = {"loss": {"module": "os", "class_name": "function", "config": "system"}}

    assert not load_keras_file(rewritten(saved, tmp_path / "model.keras", config=plant)).compiled


def test_a_compile_config_inside_the_model_is_refused(saved, tmp_path):
    def plant(config):
        config["config"]["layers"][1]["compile_config"] = {"loss": {"module": "os", "class_name": "function"}}

    with pytest.raises(ModelFileError, match="os"):
        load_keras_file(rewritten(saved, tmp_path / "model.keras", config=plant))


def test_a_bottomless_configuration_is_refused():
    config = {}
    for _ in range(200):
        config = {"config": config}
    with pytest.raises(ModelFileError, match="levels deep"):
        check_config({"class_name": "Functional", "module": "keras", "config": config}, source="x")


def hdf5():
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a"] = 1
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (hdf5, "weights only"),
        (lambda: pickle.dumps({"a": 1}), "pickle"),
        (lambda: pickle.dumps({"a": 1}, protocol=0), "pickle"),
        (lambda: b"", "empty"),
        (lambda: b"\x08\x08\x12\x07tf2onnx", "not a Keras model"),
        (lambda: b"PK\x03\x04 and then nothing", "damaged"),
    ],
)
def test_other_files_are_refused_by_content(tmp_path, content, message):
    path = tmp_path / "model.keras"
    path.write_bytes(content())
    with pytest.raises(ModelFileError, match=message):
        load_keras_file(path)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    data = saved.read_bytes()
    path = tmp_path / "model.keras"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="damaged or truncated"):
        load_keras_file(path)


def test_a_damaged_byte_in_the_weights_is_noticed(saved, tmp_path):
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "model.keras"
    path.write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="damaged"):
        load_keras_file(path)


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "assets/x", "model.weights.json"])
def test_odd_members_are_refused(saved, tmp_path, name):
    with pytest.raises(ModelFileError, match=r"expected only config\.json"):
        load_keras_file(rewritten(saved, tmp_path / "model.keras", add=[(name, b"x")]))


def test_a_second_configuration_is_refused(saved, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = rewritten(saved, tmp_path / "model.keras", add=[("config.json", b"{}")])
    with pytest.raises(ModelFileError, match="each once"):
        load_keras_file(path)


def test_a_missing_member_is_named(saved, tmp_path):
    with pytest.raises(ModelFileError, match=r"no model\.weights\.h5"):
        load_keras_file(rewritten(saved, tmp_path / "model.keras", drop=["model.weights.h5"]))


def test_a_huge_member_is_refused(saved, tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as result:
        result.writestr("config.json", b" " * (17 << 20) + archive.read("config.json"))
        result.writestr("metadata.json", b"{}")
        result.writestr("model.weights.h5", b"")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelFileError, match="expected at most 16"):
        load_keras_file(path)


def weights_with(change):
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        change(file, h5py)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda file, h5py: file.__setitem__("layers", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file, h5py: file.__setitem__("layers", h5py.SoftLink("/elsewhere")),
        lambda file, _: file.create_dataset("layers/x", (4,), "u1", external=[("/etc/passwd", 0, 4)]),
    ],
)
def test_weights_that_point_to_other_files_are_refused(saved, tmp_path, change):
    with pytest.raises(ModelFileError, match=r"link|another file"):
        load_keras_file(rewritten(saved, tmp_path / "model.keras", weights=weights_with(change)))


def test_weights_of_another_model_are_refused(saved, tmp_path):
    build_tiny(3).save(tmp_path / "other.keras")
    other = zipfile.ZipFile(tmp_path / "other.keras")
    with other, pytest.raises(ModelFileError, match="cannot rebuild"):
        load_keras_file(rewritten(saved, tmp_path / "model.keras", weights=other.read("model.weights.h5")))


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(ModelFileError, match="segtool train"):
        load_keras_file(tmp_path / "none.keras")
