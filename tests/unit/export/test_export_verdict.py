"""What becomes of a gate's figures: passed, refused, waived by name; and which file is recommended."""

import logging
import math

import numpy as np
import pytest
from tiny_nets import names, scaled, with_wrong_ranges

from segtool.benchmark.statistics import Ratio
from segtool.errors import GateError
from segtool.export import ExportOptions, export_model
from segtool.export.gates import Parity, TrainedAgreement, compare_accuracy, describe_speed
from segtool.export.network import keras_network
from segtool.export.presets import preset_for
from segtool.export.verdict import GATES, judge, recommend, useless, warnings_of
from segtool.models.predictor import open_predictor

PASSED = {
    "parity": Parity(1e-6, 1.0, 8, 8),
    "trained": TrainedAgreement(0.999, 8),
    "accuracy": compare_accuracy(0.9, 0.898, images=5, max_drop=0.5, label_agreement=1.0),
    "speed": describe_speed(Ratio(2, 1.9, 2.1), threads=1, preset=preset_for()),
}
REFUSED = {
    "parity": Parity(1e-3, 1.0, 8, 8),
    "trained": TrainedAgreement(0.99, 8),
    "accuracy": compare_accuracy(0.9, 0.8, images=5, max_drop=0.5, label_agreement=1.0),
    "speed": describe_speed(Ratio(0.5, 0.4, 0.6), threads=1, preset=preset_for()),
}


@pytest.mark.parametrize("gate", GATES)
def test_what_passes_records_no_waiver(gate, caplog):
    record = judge(PASSED[gate], waive=GATES)
    assert not {"waived", "refusal"} & set(record)
    assert not caplog.text


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_is_waived_by_its_own_name_alone(gate, caplog):
    others = [name for name in GATES if name != gate]
    with pytest.raises(GateError, match=f"{gate.capitalize()} gate") as refused:
        judge(REFUSED[gate], waive=others)
    assert refused.value.exit_code == 4
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        record = judge(REFUSED[gate], waive=[gate])
    assert record["waived"] is True
    assert record["refusal"] in caplog.text
    assert f"--waive {gate}" in caplog.text
    assert warnings_of({gate: record}) == (caplog.messages[0],)


@pytest.mark.parametrize(
    "figures",
    [
        Parity(math.nan, 1.0, 8, 8),
        Parity(math.inf, 0.0, 8, 8),
        compare_accuracy(0.9, math.nan, images=5, max_drop=100, label_agreement=1.0),
        compare_accuracy(math.nan, 0.9, images=5, max_drop=100, label_agreement=1.0),
    ],
)
def test_what_is_no_number_or_of_another_shape_cannot_be_waived(figures):
    with pytest.raises(GateError):
        judge(figures, waive=GATES)


@pytest.mark.parametrize(
    ("refused", "low", "high", "file", "word"),
    [
        ((), 1.9, 2.1, "int8", "faster"),
        ((), 0.9, 1.1, "float32", "not faster"),
        (("speed",), 0.4, 0.6, "float32", "slower"),
        (("accuracy",), 1.9, 2.1, "float32", "10.00 points"),
        (("parity",), 1.9, 2.1, None, "parity"),
    ],
)
def test_one_file_is_recommended(refused, low, high, file, word):
    figures = {**PASSED, "speed": describe_speed(Ratio(low, low, high), threads=1, preset=preset_for())}
    gates = {name: judge((REFUSED if name in refused else figures)[name], waive=refused) for name in GATES}
    advice = recommend(gates)
    assert advice.file == file
    assert word in advice.reason


@pytest.mark.parametrize(("drop", "found"), [(0.004, "keeps the accuracy"), (0.03, "loses 3.00 points")])
def test_a_loss_that_the_user_allowed_is_not_called_kept(drop, found):
    accuracy = compare_accuracy(0.9, 0.9 - drop, images=5, max_drop=100, label_agreement=1.0)
    gates = {name: judge(figures) for name, figures in {**PASSED, "accuracy": accuracy}.items()}
    advice = recommend(gates)
    assert advice.file == "int8"
    assert found in advice.reason
    assert ("--max-drop 100" in advice.reason) == (drop == 0.03)


def test_one_file_alone_is_the_one():
    assert recommend({"parity": judge(PASSED["parity"])}).file == "float32"


def metrics(accuracy, support):
    classes = [{"name": name, "support": count} for name, count in zip("abc", support, strict=True)]
    return {"float32": {"pixel_accuracy": accuracy, "classes": classes}}


def test_a_network_no_better_than_one_class_everywhere_is_named():
    assert "94.00%" in useless(metrics(0.569, [940, 30, 30]))
    assert "56.90%" in useless(metrics(0.569, [940, 30, 30]))
    assert useless(metrics(0.94, [940, 30, 30]))
    assert useless(metrics(0.95, [940, 30, 30])) == ""
    assert useless(metrics(1.0, [1000, 0, 0])) == ""
    assert useless({}) == ""


def test_an_export_of_a_useless_network_recommends_no_file(run, caplog):
    spoil(run)
    result = export_model(run, options=ExportOptions())
    assert "not better than one class everywhere" in result.warnings[-1]
    assert result.warnings[-1] in caplog.text
    assert result.to_dict()["recommendation"] is None


def spoil(run):
    """Replace the weights by the number of their channel, so that the classes have nothing to do with the image."""
    import keras

    model = keras.models.load_model(run / "model.keras")
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(weight * 0 + np.linspace(0, 9, weight.shape[-1]))
    model.save(run / "model.keras")


def test_a_parity_refusal_is_waived_into_the_metadata(run, monkeypatch):
    convert = keras_network.keras_to_onnx
    monkeypatch.setattr(
        keras_network, "keras_to_onnx", lambda *args, **options: scaled(convert(*args, **options), 1.01)
    )
    with pytest.raises(GateError, match="Parity gate"):
        export_model(run, options=ExportOptions(waive=("speed", "accuracy")))
    assert names(run) == ["model.keras", "run.json"]
    result = export_model(run, options=ExportOptions(waive=("parity",)))
    assert open_predictor(result.float32).contract.gates["parity"]["waived"] is True
    assert "Parity gate" in result.warnings[0]
    assert result.to_dict()["recommendation"] is None


def test_a_waived_accuracy_keeps_every_layer_in_int8(run, monkeypatch):
    from segtool.export import quantize as quantization

    monkeypatch.setattr(quantization, "calibrate", with_wrong_ranges(quantization.calibrate))
    result = export_model(run, options=ExportOptions(quantize=True, waive=("accuracy", "speed")))
    contract = open_predictor(result.int8).contract
    assert contract.gates["accuracy"]["waived"] is True
    assert contract.quantization["float_layers"] == []
    assert result.to_dict()["recommendation"] == "float32"
