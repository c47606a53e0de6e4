"""`train --qat` on a tiny network: its scales reach the INT8 file, whose labels are those of the training."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_nets import trained_tiny, write_run

from segtool.errors import ExportError, GateError, OutputExistsError, TrainingError
from segtool.export import ExportOptions, export_model
from segtool.models.quantization import read_quantization
from segtool.qat import train_quantized
from segtool.train.callbacks import TrainListener
from segtool.train.options import TrainOptions
from segtool.train.recipes import recipe_values, resolve_recipe
from segtool.train.trainer import resume

QUANTIZE = ExportOptions(quantize=True, overwrite=True, max_drop=100, waive=("speed",), preset="vnni", winograd="off")


def _begin(folder, model=None):
    """The run that --qat begins with."""
    run = write_run(folder, model or trained_tiny())
    info = json.loads((run / "run.json").read_text())
    options = TrainOptions(
        data=info["data"]["spec"], recipe="standard", seed=3, val_split=0.25, augment="none", batch_size=8
    )
    info |= {
        "config": options.to_dict(),
        "recipe_values": recipe_values(resolve_recipe(options)),
        "precision": {"name": "float32"},
        "segtool_version": "0",
    }
    (run / "run.json").write_text(json.dumps(info))
    return run


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    return _begin(tmp_path_factory.mktemp("begun") / "run")


class _StopError(Exception):
    pass


class _StopsAfterAnEpoch(TrainListener):
    def epoch(self, *_args, **_named):
        raise _StopError


@pytest.fixture(scope="module")
def trained(begun):
    out = begun.parent / "qat"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(begun.parent)
        (begun.parent / "runs").mkdir()
        (begun.parent / "runs" / "latest").symlink_to(begun)
        with pytest.raises(_StopError):
            train_quantized("runs/latest", given={"epochs": 2}, preset="vnni", out=out, listener=_StopsAfterAnEpoch())
        assert resume(out).epochs == 2
    return out


def test_the_file_has_the_trained_scales_and_the_labels_of_the_training(trained):
    exported = export_model(trained, options=QUANTIZE)
    model = onnx.load(exported.int8)
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    found = {
        (float(constants[node.input[1]]), int(constants[node.input[2]]))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    quantization = read_quantization(trained)
    assert len(quantization.activations) >= 6
    assert found == {(float(np.float32(item.scale)), item.zero_point) for item in quantization.activations}
    begun = json.loads((trained / "run.json").read_text())["qat"]["quantization"]
    pairs = zip(quantization.activations, begun["activations"], strict=True)
    assert any(item.scale != old["scale"] for item, old in pairs)
    contract = exported.int8_contract
    assert contract.gates["trained"]["label_agreement"] > 0.999
    assert contract.quantization["equalization"] == 0
    assert "trained" in contract.quantization["method"]
    assert "bias correction" not in contract.quantization["method"]


def test_another_range_than_the_trained_one_is_refused(trained, tmp_path):
    from segtool.export import trained as module

    def wrong(given, *rest):
        calibrated = correct(given, *rest)
        return replace(
            calibrated, ranges={name: (low / 9, high / 9) for name, (low, high) in calibrated.ranges.items()}
        )

    correct = module.trained_calibration
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segtool.export.int8_file.trained_calibration", wrong)
        with pytest.raises(GateError, match="Trained gate"):
            export_model(trained, options=replace(QUANTIZE, out=tmp_path / "wrong.onnx"))
    assert not (tmp_path / "wrong.int8.onnx").exists()


@pytest.mark.parametrize("option", [{"calibration": "mse"}, {"prune": 0.1}, {"preset": "x86"}])
def test_options_that_would_undo_the_training_are_refused(trained, tmp_path, option):
    with pytest.raises(ExportError, match=f"--{next(iter(option))}"):
        export_model(trained, options=replace(QUANTIZE, out=tmp_path / "model.onnx", **option))


def test_options_that_cannot_hold_are_refused(trained, begun):
    for given in ({"arch": "fcn8"}, {"crop": (8, 8)}, {"precision": "bfloat16"}):
        with pytest.raises(TrainingError, match=f"--{next(iter(given))}"):
            train_quantized(begun, given=given)
    with pytest.raises(TrainingError, match="trained with --qat already"):
        train_quantized(trained)


def test_several_processes_are_refused_before_a_network_is_opened(begun, monkeypatch):
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    monkeypatch.setattr("segtool.train.qat.load_keras_file", lambda _: pytest.fail("a network was opened"))
    with pytest.raises(TrainingError, match="TF_CONFIG names 2 workers"):
        train_quantized(begun)


def test_an_output_in_use_is_refused_before_the_calibration(begun, monkeypatch):
    def calibrate(*_, **__):
        raise RuntimeError("the run was calibrated")

    monkeypatch.setattr("segtool.qat.begin_quantization", calibrate)
    with pytest.raises(OutputExistsError, match="already exists"):
        train_quantized(begun, out=begun)


def test_a_layer_of_an_unknown_kind_is_refused_by_name(tmp_path):
    import keras
    from keras import layers

    image = keras.Input((16, 20, 1), dtype="uint8", name="image")
    x = layers.SeparableConv2D(8, 3, padding="same", activation="relu", name="apart")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(3, 1)(x)
    run = _begin(tmp_path / "run", keras.Model(image, layers.Softmax()(x)))
    with pytest.raises(ExportError, match="apart"):
        train_quantized(run, out=tmp_path / "out")
