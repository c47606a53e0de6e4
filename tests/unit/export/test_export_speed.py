"""The speed gate, with models that really take longer, and what is said of a file for another processor."""

import numpy as np
import onnx
import pytest
from onnx import helper
from tiny_nets import names, tiny_data, trained_tiny

from segtool.benchmark.latency import compare_interleaved
from segtool.benchmark.statistics import Ratio
from segtool.contract import ModelContract
from segtool.errors import GateError
from segtool.export import ExportOptions, export_model, int8_file
from segtool.export.gates import describe_speed
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.presets import PRESETS, is_own, preset_for
from segtool.export.running import onnx_runner
from segtool.export.verdict import judge, recommend, speed_warning
from segtool.models.predictor import open_predictor

OWN = preset_for()
OTHER = next(preset for preset in PRESETS.values() if not is_own(preset))


def slowed(model, side=1024):
    """The graph with the product of two large matrices in front of its labels; they stay as they are."""
    slow = onnx.ModelProto()
    slow.CopyFrom(model)
    graph, old = slow.graph, slow.graph.output[0].name
    for node in graph.node:
        node.output[:] = ["quick" if name == old else name for name in node.output]
    nodes = [
        # 0 for every pixel, so that nothing of it is known before it runs; then 0 in a sum over side x side products.
        ("Sub", ["quick", "quick"], "zeros", {}),
        ("Cast", ["zeros"], "floats", {"to": onnx.TensorProto.FLOAT}),
        ("ReduceMax", ["floats"], "zero", {"keepdims": 0}),
        ("Add", ["matrix", "zero"], "left", {}),
        ("MatMul", ["left", "matrix"], "product", {}),
        ("ReduceMax", ["product"], "largest", {"keepdims": 0}),
        ("Cast", ["largest"], "nothing", {"to": onnx.TensorProto.UINT8}),
        ("Add", ["quick", "nothing"], old, {}),
    ]
    for kind, inputs, output, attributes in nodes:
        graph.node.append(helper.make_node(kind, inputs, [output], name=f"slow/{output}", **attributes))
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((side, side), np.float32), "matrix"))
    onnx.checker.check_model(slow, full_check=True)
    return slow


@pytest.fixture
def slow_int8(monkeypatch):
    """INT8 with so much work added that it takes many times as long; everything that measures it is real."""
    quantize = int8_file.quantize

    def spoiled(*args, **kwargs):
        made = quantize(*args, **kwargs)
        made.model.CopyFrom(slowed(made.model))
        return made

    monkeypatch.setattr(int8_file, "quantize", spoiled)


def test_the_gate_tells_a_slow_model_from_a_fast_one(tmp_path):
    graph, image = with_head(keras_to_onnx(trained_tiny()), "labels"), tiny_data(1)[0]
    runs = []
    for name, model in (("fast", graph), ("slow", slowed(graph))):
        onnx.save(model, tmp_path / f"{name}.onnx")
        run, threads = onnx_runner(tmp_path / f"{name}.onnx")
        runs.append(lambda run=run: run(image))
    fast, slow = runs
    np.testing.assert_array_equal(fast(), slow())
    ratio = compare_interleaved(slow, fast, rounds=12)
    assert describe_speed(ratio, threads=threads, preset=OWN).verdict == "faster"
    slower = describe_speed(compare_interleaved(fast, slow, rounds=12), threads=threads, preset=OWN)
    assert slower.high < 0.5
    with pytest.raises(GateError, match="slower: use the FP32 file"):
        judge(slower)


def test_a_slower_int8_file_is_refused_and_float32_stays(run, slow_int8):
    # The refusal names the layer that makes it slow.
    with pytest.raises(
        GateError, match=r"Speed gate.*slower: use the FP32 file.*--waive speed.*slow/product.*and was written"
    ) as gate:
        export_model(run, options=ExportOptions(quantize=True, max_drop=5))
    assert gate.value.exit_code == 4
    assert "earlier export" not in str(gate.value)
    assert names(run) == ["model.keras", "model.onnx", "run.json"]


def test_an_int8_file_of_an_earlier_export_is_kept_and_said_to_be_one(run, slow_int8):
    (run / "model.int8.onnx").write_bytes(b"earlier")
    with pytest.raises(GateError, match=r"model\.int8\.onnx is still that of an earlier export"):
        export_model(run, options=ExportOptions(quantize=True, max_drop=5, overwrite=True))
    assert (run / "model.int8.onnx").read_bytes() == b"earlier"


def test_waived_it_is_written_with_a_warning_that_its_metadata_keep(run, slow_int8, caplog):
    result = export_model(run, options=ExportOptions(quantize=True, max_drop=5, waive=("speed",)))
    assert names(run) == ["model.int8.onnx", "model.keras", "model.onnx", "run.json"]
    kept = open_predictor(result.int8).contract.gates["speed"]
    assert (kept["waived"], kept["verdict"], kept["recommendation"]) == (True, "slower", "float32")
    assert kept["sentence"] == "slower: use the FP32 file"
    for text in (kept["refusal"], result.warnings[0], caplog.text):
        assert "slower: use the FP32 file" in text
    assert "waived (--waive speed)" in caplog.text
    assert "slow/product" in caplog.text
    assert "slow/product" not in str(kept)  # times are of this run, and the same export gives the same bytes
    assert result.to_dict()["recommendation"] == "float32"


def test_for_another_processor_slower_is_a_warning_and_no_advice(run, slow_int8, caplog):
    result = export_model(run, options=ExportOptions(quantize=True, max_drop=5, preset=OTHER.name))
    speed = result.int8_contract.gates["speed"]
    assert (speed["verdict"], speed["target"], speed["on_target"]) == ("slower", OTHER.name, False)
    assert "waived" not in speed
    assert f"the file is for {OTHER.processors}" in result.warnings[0]
    assert result.warnings[0] in caplog.text
    assert result.to_dict()["recommendation"] is None
    assert "segtool benchmark" in result.recommendation.reason


@pytest.mark.parametrize(
    ("low", "high", "verdict", "sentence"),
    [
        (1.9, 2.1, "faster", "1.9x to 2.1x faster"),
        (1.02, 1.31, "faster", "1.02x to 1.31x faster"),
        (0.95, 1.1, "no difference", "no difference"),
        (0.9, 1.2, "no difference", "not decided, the times vary too much"),
        (1.0, 1.0, "no difference", "no difference"),
        (0.5, 0.8, "slower", "slower: use the FP32 file"),
    ],
)
def test_speed_is_put_in_words_by_its_interval(low, high, verdict, sentence):
    speed = describe_speed(Ratio((low + high) / 2, low, high), threads=1, preset=OWN)
    assert (speed.verdict, speed.sentence) == (verdict, sentence)
    assert (speed.refusal() is None) == (verdict != "slower")
    other = describe_speed(Ratio((low + high) / 2, low, high), threads=1, preset=OTHER)
    assert other.refusal() is None
    assert other.sentence.startswith(f"{sentence.split(':')[0]} (timed on another kind of processor; ")


def test_a_file_for_x86_without_vnni_is_not_said_to_be_for_another_kind_than_x86():
    speed = describe_speed(Ratio(2, 1.9, 2.1), threads=1, preset=PRESETS["x86"])
    gates = {"parity": {}, "speed": {**judge(speed), "on_target": False}}
    reason = recommend(gates).reason
    assert reason == "the INT8 file is for x86 processors without VNNI: time both files on one with segtool benchmark"
    reason = recommend({**gates, "speed": {**gates["speed"], "target": "arm"}}).reason
    assert "Raspberry Pi 4" in reason
    if not is_own(PRESETS["x86"]):
        assert "the file is for x86 processors without VNNI" in speed.sentence


def test_times_that_vary_too_much_recommend_the_fp32_file_and_a_second_look():
    speed = describe_speed(Ratio(1.2, 0.57, 5.21), threads=1, preset=OWN)
    found = recommend({"parity": {}, "speed": judge(speed)})
    assert found.file == "float32"
    assert "not decided" in found.reason
    assert "segtool benchmark" in found.reason
    assert "FP32 takes 0.57 to 5.21 times as long as INT8" in speed_warning(judge(speed))
    usual = describe_speed(Ratio(1.02, 0.97, 1.1), threads=1, preset=OWN)
    assert recommend({"parity": {}, "speed": judge(usual)}).reason == "INT8 is not faster here"


def test_the_refusal_says_how_many_times_as_long():
    assert "1.25 to 2.00 times as long" in describe_speed(Ratio(0.6, 0.5, 0.8), threads=1, preset=OWN).refusal().found


def test_the_contract_reads_back_what_was_recorded():
    speed = describe_speed(Ratio(0.6, 0.5, 0.8), threads=1, preset=OTHER)
    palette = ((0, 0, 0), (255, 255, 255))
    contract = ModelContract(4, 4, 1, ("a", "b"), palette, gates={"speed": judge(speed)})
    assert ModelContract.from_json(contract.to_json()).gates == {"speed": judge(speed)}
