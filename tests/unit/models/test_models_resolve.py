"""What a user means by a model, and one way to run all of them."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_nets import CLASSES, HEIGHT, WIDTH, build_tiny, tiny_data, trained_tiny, write_run

from segtool.contract import GoldenPair, ModelContract, default_palette
from segtool.errors import ModelFileError
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.stamp import with_metadata
from segtool.models.predictor import open_predictor
from segtool.models.resolve import find_model, latest_exported, read_run


@pytest.fixture(scope="module")
def labels_graph():
    return with_head(keras_to_onnx(trained_tiny()), "labels")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_run(tmp_path / "runs" / "first")
    (tmp_path / "runs" / "latest").symlink_to("first")
    return folder


@pytest.fixture
def publish(labels_graph):
    """Write an exported file as the pipeline does, and return its bytes' SHA-256."""
    names = tuple(f"class {index}" for index in range(CLASSES))
    contract = ModelContract(HEIGHT, WIDTH, 1, names, default_palette(CLASSES), background_id=0)
    golden = GoldenPair(np.zeros((1, HEIGHT, WIDTH, 1), np.uint8), np.zeros((1, HEIGHT, WIDTH), np.uint8))

    def write(path, **fields):
        data = with_metadata(labels_graph, replace(contract, **fields), golden).SerializeToString()
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    return write


def test_the_latest_run_is_the_default(run):
    found = find_model(None, kind="keras")
    assert (found.path, found.kind) == (Path("runs/latest/model.keras"), "keras")
    assert found.run.data["class_names"] == ["class 0", "class 1", "class 2"]


def test_the_model_file_of_a_run_is_that_run(run):
    assert find_model(run / "model.keras").run.info == read_run(run).info


def test_a_file_on_its_own_has_no_run(run, tmp_path):
    alone = tmp_path / "alone.keras"
    alone.write_bytes((run / "model.keras").read_bytes())
    assert find_model(alone).run is None


def test_a_run_gives_the_exported_model_where_that_is_wanted(run, publish):
    with pytest.raises(ModelFileError, match=r"run `segtool export`"):
        find_model(None, kind="onnx")
    assert find_model(run).kind == "keras"
    publish(run / "model.onnx")
    assert find_model(None, kind="onnx").path.name == "model.onnx"
    assert find_model(run).kind == "onnx"


def test_int8_is_preferred_unless_it_was_slower_or_is_of_another_export(run, publish):
    digest = publish(run / "model.onnx")
    int8 = run / "model.int8.onnx"
    publish(int8, quantization={"float32_sha256": digest}, gates={"speed": {"verdict": "faster"}})
    assert latest_exported(run) == int8
    publish(int8, quantization={"float32_sha256": digest}, gates={"speed": {"verdict": "slower"}})
    assert latest_exported(run) == run / "model.onnx"
    publish(int8, quantization={"float32_sha256": "0" * 64}, gates={"speed": {"verdict": "faster"}})
    assert latest_exported(run) == run / "model.onnx"
    (run / "model.onnx").unlink()
    assert latest_exported(run) == int8


@pytest.mark.parametrize(
    ("verdict", "recommendation", "name"),
    [
        ("no difference", "float32", "model.onnx"),
        ("faster", "float32", "model.onnx"),  # it lost accuracy, and that gate was waived
        ("faster", "int8", "model.int8.onnx"),
        ("no difference", None, "model.int8.onnx"),  # made for another processor
        ("slower", None, "model.onnx"),
    ],
)
def test_what_the_export_recommended_is_taken(run, publish, verdict, recommendation, name):
    digest = publish(run / "model.onnx")
    speed = {"verdict": verdict, "recommendation": recommendation}
    publish(run / "model.int8.onnx", quantization={"float32_sha256": digest}, gates={"speed": speed})
    assert latest_exported(run) == find_model(run, kind="onnx").path == run / name


def test_a_file_for_another_size_is_named_and_not_taken_unasked(run, publish):
    publish(run / "model.24x28.onnx")
    with pytest.raises(ModelFileError, match=r"not exported at its training size yet; .*, or pass model\.24x28\.onnx"):
        latest_exported(run)


def test_nothing_there_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match="segtool train"):
        find_model(None)
    with pytest.raises(ModelFileError, match=r"segtool train.*segtool export"):
        latest_exported()
    with pytest.raises(ModelFileError, match="no model at"):
        find_model("nowhere.onnx")
    with pytest.raises(ModelFileError, match=r"pass a run folder or an \.onnx file") as caught:
        find_model("nowhere.onnx", kind="onnx")  # a .keras file would be refused
    assert ".keras" not in str(caught.value)
    with pytest.raises(ModelFileError, match="not a run folder"):
        find_model(tmp_path)


def test_the_wrong_kind_is_refused_with_a_way_out(run, publish):
    publish(run / "model.onnx")
    with pytest.raises(ModelFileError, match="pass the run"):
        find_model(run / "model.onnx", kind="keras")
    with pytest.raises(ModelFileError, match="segtool export"):
        find_model(run / "model.keras", kind="onnx")


@pytest.mark.parametrize("kind", [None, "keras", "onnx"])
def test_a_file_without_a_suffix_says_what_is_expected(tmp_path, kind):
    (tmp_path / "noext").write_bytes(b"\x08\x08")
    with pytest.raises(ModelFileError, match=r"noext has no suffix .*expected \.onnx .* or \.keras"):
        find_model(tmp_path / "noext", kind=kind)


def test_a_command_in_an_error_can_be_typed(tmp_path):
    run = write_run(tmp_path / "r o")
    with pytest.raises(ModelFileError, match=f"segtool export '{run}'"):
        latest_exported(run)
    (run / "model.keras").unlink()
    with pytest.raises(ModelFileError, match=f"--out '{run}'"):
        find_model(run)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": {"spec": "x"}}', "{", "\udcff"])
def test_a_damaged_run_json_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelFileError, match=r"run\.json"):
        read_run(tmp_path)


def test_an_unfinished_run_is_named(run):
    (run / "model.keras").unlink()
    with pytest.raises(ModelFileError, match="--resume"):
        find_model(run)


def test_keras_and_onnx_predict_alike(run, publish):
    publish(run / "model.onnx")
    images, _ = tiny_data(5, seed=2)
    keras, exported = open_predictor(run), open_predictor(run / "model.onnx", provider="cpu", threads=1)
    assert (keras.kind, exported.kind) == ("keras", "onnx")
    np.testing.assert_array_equal(keras.predict_batch(images), exported.predict_batch(images))
    assert keras.predict_batch(images).dtype == exported.predict_batch(images).dtype == np.uint8
    assert keras.contract.class_names == exported.contract.class_names
    assert (keras.contract.height, keras.contract.width, keras.contract.channels) == (HEIGHT, WIDTH, 1)
    assert keras.contract.background_id == 0


def test_a_keras_file_refuses_the_options_of_onnxruntime(run):
    with pytest.raises(ModelFileError, match="remove them"):
        open_predictor(run, threads=2)


def test_a_run_of_other_classes_is_refused(run):
    info = json.loads((run / "run.json").read_text())
    info["data"]["class_names"] = ["a", "b"]
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(ModelFileError, match="predicts 3 classes"):
        open_predictor(run)


def test_a_network_that_is_no_segmentation_is_refused(tmp_path):
    from keras import Input, Model, layers

    image = Input((4, 4, 1), dtype="uint8")
    pooled = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(image))
    Model(image, pooled).save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match="one output"):
        open_predictor(tmp_path / "model.keras")


def test_an_onnx_file_opens_without_keras_or_onnx(run, publish):
    publish(run / "model.onnx")
    code = (
        "import sys; from segtool.models.predictor import open_predictor; p = open_predictor('runs/latest/model.onnx');"
        "assert not {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_importing_tensorflow_is_silent(tmp_path):
    build_tiny().save(tmp_path / "model.keras")
    code = "import sys; from segtool.models.keras_file import load_keras_file; load_keras_file(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.keras")],
        check=True,
        timeout=600,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
