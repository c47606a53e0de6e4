"""`segtool export` as a whole: the files that appear, and those that do not."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from tiny_nets import CLASSES, HEIGHT, WIDTH, names, scaled, tiny_data, trained_tiny, with_wrong_ranges

import segtool.runtime.opening
from segtool.contract import GoldenPair
from segtool.errors import ContractError, DataError, ExportError, GateError, OutputExistsError
from segtool.export import ExportOptions, export_model, float32_file, int8_file, stamp
from segtool.export.job import FirstLabels
from segtool.export.network import keras_network
from segtool.export.stamp import as_stored


def test_a_run_is_exported_beside_its_model(run):
    seen = []
    result = export_model(
        run, options=ExportOptions(quantize=True, max_drop=5, waive=("speed",)), progress=lambda *at: seen.append(at)
    )
    assert names(run) == ["model.int8.onnx", "model.keras", "model.onnx", "run.json"]
    assert (result.float32, result.int8) == (run / "model.onnx", run / "model.int8.onnx")
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages[0] == "opening"
    assert stages[-1] == "speed"
    assert {"conversion", "parity", "FP32 accuracy", "calibration", "bias correction", "INT8 accuracy"} < set(stages)
    for stage in ("FP32 accuracy", "INT8 accuracy"):
        assert [at for at in seen if at[0] == stage][-1] == (stage, 12, 12)
    for path, contract in ((result.float32, result.contract), (result.int8, result.int8_contract)):
        segmenter = segtool.runtime.opening.load(path, provider="cpu")
        assert json.loads(segmenter.contract.to_json()) == json.loads(as_stored(contract).to_json())
        assert segmenter.verify().mismatching_pixels == 0
    facts = json.loads((run / "run.json").read_text())["data"]
    assert result.contract.data_fingerprint == facts["fingerprint"]
    assert (result.contract.precision, result.int8_contract.precision) == ("float32", "int8")
    assert result.contract.gates["parity"]["max_difference"] < 1e-5
    assert result.contract.metrics["float32"]["foreground_mean_iou"] > 0.5
    assert 0.97 < result.int8_contract.gates["accuracy"]["label_agreement"] <= 1
    assert set(result.int8_contract.gates) == {"parity", "accuracy", "speed"}
    assert result.int8_contract.gates["accuracy"]["candidates"] == 1
    assert not [text for text in result.warnings if "optimistic" in text]
    assert set(result.int8_contract.metrics) == {"float32", "int8"}
    assert result.int8_contract.quantization["images"] == 36
    json.dumps(result.to_dict())


def test_the_golden_pair_is_four_real_images(run):
    path = export_model(run).float32
    metadata = {item.key: item.value for item in onnx.load(path).metadata_props}
    golden = GoldenPair.from_metadata(metadata, source="model.onnx")
    data = {image.tobytes() for image in tiny_data()[0]}
    assert golden.images.shape == (4, HEIGHT, WIDTH, 1)
    assert all(image.tobytes() in data for image in golden.images)
    assert set(np.unique(golden.labels)) <= set(range(CLASSES))
    assert len(np.unique(golden.labels)) > 1


@pytest.mark.parametrize("head", ["logits", "probabilities"])
def test_other_heads_are_proven_too(run, tmp_path, head):
    out = tmp_path / "out" / "net.onnx"
    options = ExportOptions(head=head, size_policy="tile", out=out, quantize=True, max_drop=5, waive=("speed",))
    result = export_model(run, options=options)
    assert names(out.parent) == ["net.int8.onnx", "net.onnx"]
    assert result.contract.head == head
    assert segtool.runtime.opening.load(out, provider="cpu").verify().mismatching_pixels == 0
    for path in (result.float32, result.int8):
        assert segtool.runtime.opening.load(path, provider="cpu").contract.size_policy == "tile"


def test_a_policy_for_larger_images_that_is_none_is_refused(run):
    with pytest.raises(ContractError, match="size_policy is 'crop', expected resize, tile"):
        export_model(run, options=ExportOptions(size_policy="crop"))
    assert names(run) == ["model.keras", "run.json"]


def test_a_sabotaged_conversion_leaves_nothing(run, monkeypatch):
    monkeypatch.setattr(keras_network, "keras_to_onnx", lambda *args, **options: scaled(real(*args, **options), 1.01))
    with pytest.raises(GateError, match="Parity gate"):
        export_model(run, options=ExportOptions(quantize=True))
    assert names(run) == ["model.keras", "run.json"]


def test_a_sabotaged_head_leaves_nothing(run, monkeypatch):
    def reversed_head(model, head):
        graph = with_head(model, head)
        next(node for node in graph.graph.node if node.op_type == "ArgMax").op_type = "ArgMin"
        return graph

    with_head = float32_file.with_head
    monkeypatch.setattr(float32_file, "with_head", reversed_head)
    with pytest.raises(GateError, match="labels agree"):
        export_model(run)
    assert names(run) == ["model.keras", "run.json"]


def test_a_sabotaged_int8_file_is_refused_and_float32_stays(run, monkeypatch):
    def spoiled(*args, **kwargs):
        made = quantize(*args, **kwargs)
        scaled(made.model, 0)
        return made

    quantize = int8_file.quantize
    monkeypatch.setattr(int8_file, "quantize", spoiled)
    with pytest.raises(GateError, match=r"Accuracy gate.*model\.onnx passed and was written"):
        export_model(run, options=ExportOptions(quantize=True))
    assert names(run) == ["model.keras", "model.onnx", "run.json"]


def test_layers_go_back_to_float_until_the_accuracy_holds(run, monkeypatch, caplog):
    def spoiled_until_two_are_float(*args, **kwargs):
        made = quantize(*args, **kwargs)
        if len(made.float_layers) < 2:
            scaled(made.model, 0)
        return made

    quantize = int8_file.quantize
    monkeypatch.setattr(int8_file, "quantize", spoiled_until_two_are_float)
    result = export_model(run, options=ExportOptions(quantize=True, max_drop=5, waive=("speed",)))
    facts = result.int8_contract.quantization
    assert len(facts["float_layers"]) == 2
    assert facts["layers"] == 3
    # The most sensitive ones, by what each alone changes.
    assert set(facts["float_layers"]) == set(list(facts["sensitivities"])[:2])
    assert caplog.text.count("stay in float") == 1
    assert all(name in caplog.text for name in facts["float_layers"])
    assert result.int8_contract.gates["accuracy"]["drop_points"] <= 5
    # The figure is that on the images which decided how many layers went back, and says so wherever it stands.
    assert result.int8_contract.gates["accuracy"]["candidates"] == 3
    assert caplog.text.count("optimistic") == 1
    assert [text for text in result.warnings if "optimistic" in text]


def test_a_wrong_calibration_range_exits_4_and_leaves_float32_alone(run, monkeypatch):
    from segtool.cli import main
    from segtool.export import quantize as quantization

    monkeypatch.setattr(quantization, "calibrate", with_wrong_ranges(quantization.calibrate))
    result = CliRunner().invoke(main, ["export", str(run), "--quantize", "-q"])
    assert result.exit_code == 4
    assert re.search(r"Accuracy gate.*to float \(.*did not help.*model\.onnx passed and was written", result.stderr)
    assert names(run) == ["model.keras", "model.onnx", "run.json"]


@pytest.mark.parametrize("stage", ["calibration", "bias correction", "INT8 accuracy", "speed"])
def test_a_stop_while_int8_is_made_leaves_the_float32_file(run, stage):
    def stop(at, _done, _total):
        if at == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_model(run, options=ExportOptions(quantize=True, max_drop=5), progress=stop)
    assert names(run) == ["model.keras", "model.onnx", "run.json"]
    assert segtool.runtime.opening.load(run / "model.onnx", provider="cpu").verify().mismatching_pixels == 0


@pytest.mark.parametrize("scores", [False, True])
def test_labels_are_compared_over_all_batches(scores):
    random = np.random.default_rng(0)
    ones, others = random.integers(0, 3, (2, 20, 4, 4)).astype(np.uint8)

    def model(labels):
        """Images are their own numbers; the output is the labels, or scores whose arg-max they are."""
        return lambda images: np.eye(3)[labels[images[:, 0, 0, 0]]] if scores else labels[images[:, 0, 0, 0]]

    first, images = FirstLabels(), np.arange(20, dtype=np.uint8)[:, None, None, None]
    assert np.isnan(first.agreement)
    for watch, expected in (
        (lambda: first.keep(model(ones), np.dtype(np.uint8)), np.nan),
        (lambda: first.compare(model(ones)), 1),
        (lambda: first.compare(model(others)), (ones == others).mean()),
    ):
        run = watch()
        for start in range(0, 20, 8):
            run(images[start : start + 8])
        assert first.agreement == pytest.approx(expected, nan_ok=True)


def test_a_file_that_changes_while_it_is_written_is_refused(run, monkeypatch):
    with_metadata = stamp.with_metadata
    monkeypatch.setattr(stamp, "with_metadata", lambda *args: scaled(with_metadata(*args), -1))
    with pytest.raises(GateError, match="golden"):
        export_model(run)
    assert names(run) == ["model.keras", "run.json"]


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_what_exists_is_kept_unless_told_otherwise(run, name):
    (run / name).write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=name.replace(".", r"\.")):
        export_model(run, options=ExportOptions(quantize=True, max_drop=5, waive=("speed",)))
    assert (run / name).read_bytes() == b"mine"
    export_model(run, options=ExportOptions(quantize=True, max_drop=5, waive=("speed",), overwrite=True))
    assert (run / name).read_bytes() != b"mine"


def test_a_file_on_its_own_needs_data(run, tmp_path):
    alone = tmp_path / "alone" / "net.keras"
    alone.parent.mkdir()
    trained_tiny().save(alone)
    with pytest.raises(ExportError, match="--data"):
        export_model(alone)
    assert names(alone.parent) == ["net.keras"]
    result = export_model(alone, options=ExportOptions(data=str(tmp_path / "run-data.npz")))
    assert result.float32 == alone.with_name("model.onnx")
    assert result.contract.class_names == ("class 0", "class 1", "class 2")
    assert result.contract.data_fingerprint == ""  # what it was trained on is not known


def test_int8_without_validation_images_is_refused_before_anything_is_written(run):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "val_split": 0.0}))
    with pytest.raises(DataError, match="validation"):
        export_model(run, options=ExportOptions(quantize=True))
    assert names(run) == ["model.keras", "run.json"]
    assert export_model(run).contract.metrics == {}


def test_data_that_changed_since_the_training_are_refused(run, tmp_path):
    images, labels = tiny_data(seed=9)
    np.savez(tmp_path / "run-data.npz", images=images[..., 0], labels=labels)
    with pytest.raises(DataError, match="changed since"):
        export_model(run)
    assert names(run) == ["model.keras", "run.json"]


def test_other_data_by_name_are_used_with_a_warning(run, tmp_path, caplog):
    images, labels = tiny_data(20, seed=9)
    np.savez(tmp_path / "other.npz", images=images[..., 0], labels=labels)
    result = export_model(run, options=ExportOptions(data=str(tmp_path / "other.npz")))
    assert "not the data that the run was trained on" in caplog.text
    assert result.contract.data_fingerprint == json.loads((run / "run.json").read_text())["data"]["fingerprint"]


def test_data_of_other_channels_or_classes_are_refused(run, tmp_path):
    images, labels = tiny_data(20, channels=3)
    np.savez(tmp_path / "rgb.npz", images=images, labels=labels)
    np.savez(tmp_path / "two.npz", images=images[..., 0], labels=labels // 2)
    for name, message in (("rgb", "channel"), ("two", "2 classes")):
        with pytest.raises(DataError, match=message):
            export_model(run, options=ExportOptions(data=str(tmp_path / f"{name}.npz")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExportOptions(opset=12), "Opset 12"),
        (ExportOptions(size=(30, 32)), "30x32.*a height of 28 or 32"),
        (ExportOptions(out="model.tflite"), "onnx file"),
        (ExportOptions(preset="tpu"), "preset"),
    ],
)
def test_options_that_cannot_be_met_are_refused(run, options, message):
    with pytest.raises(ExportError, match=message):
        export_model(run, options=options)
    assert names(run) == ["model.keras", "run.json"]


real = keras_network.keras_to_onnx


def test_the_file_keeps_the_command_line_that_made_it(run, tmp_path, monkeypatch):
    from segtool.cli import main

    monkeypatch.chdir(tmp_path)
    given = ["--larger-images", "tile", "--out", "a b/net.onnx", "--winograd", "off"]
    result = CliRunner().invoke(main, ["export", "-v", *given, "--json", "--debug", "--", "run"])
    assert result.exit_code == 0, result.stderr
    contract = segtool.runtime.opening.load("a b/net.onnx", provider="cpu").contract
    assert contract.arguments == (*given, "--", "run")
    assert export_model(run).contract.arguments == ()


def without_verdict(path):
    """The bytes of a file without the verdict of the speed gate, which a busy machine may change, and the checksum."""
    model = onnx.load(path)
    metadata = {item.key: item.value for item in model.metadata_props}
    contract = json.loads(metadata["segtool"])
    verdict = contract["gates"].pop("speed")["verdict"]
    del metadata["segtool.crc32"]
    onnx.helper.set_model_props(model, {**metadata, "segtool": json.dumps(contract)})
    return verdict, model.SerializeToString(deterministic=True)


def test_the_bytes_do_not_depend_on_how_much_is_said(run, tmp_path):
    """In processes of their own, as a shell starts them; the order of sets of texts differs between them."""
    given = ["export", "run", "--quantize", "--waive", "speed", "--max-drop", "5", "--winograd", "off", "--overwrite"]
    made = []
    for seed, extra in (("1", []), ("2", ["-v"])):
        command, env = [sys.executable, "-m", "segtool", *given, *extra], {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        int8 = run / "model.int8.onnx"
        made.append(((run / "model.onnx").read_bytes(), *without_verdict(int8), int8.read_bytes()))
    (float32, verdict, shared, whole), (*others, whole_again) = made
    assert others[0] == float32
    assert others[2] == shared
    assert others[1] != verdict or whole_again == whole
