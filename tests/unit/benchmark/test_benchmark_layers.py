"""The time, work and kernel of each layer: which step belongs to which layer, and what the rows add up to."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from int8_nets import HEIGHT, WIDTH, Layer, write_pair

from segtool.benchmark.kernels import direct_kernel
from segtool.benchmark.layers import ONLY_FLOAT32, LayerTime, LayerTimes, measure_layers, slower_text
from segtool.benchmark.profiler import profile_files
from segtool.errors import ModelFileError
from segtool.export.stamp import census

LAYERS = [
    Layer("first", 16),
    Layer("middle", 32),
    Layer("depthwise", 32, groups=32),
    Layer("odd", 31, kernel=1),
    Layer("last", 8, kernel=1),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("pair"), LAYERS)


def test_each_convolution_has_a_row_with_its_work_size_and_kernel(pair: tuple[Path, Path]) -> None:
    times = measure_layers(pair[0], pair[1], runs=2)
    rows = {row.name: row for row in times.layers}
    assert {layer.name for layer in LAYERS} <= rows.keys()
    assert rows["middle"].shape == f"3x3, 16 -> 32 channels, {HEIGHT}x{WIDTH}"
    assert rows["depthwise"].shape == f"3x3, 32 -> 32 channels, 32 groups, {HEIGHT}x{WIDTH}"
    assert rows["middle"].macs == HEIGHT * WIDTH * 16 * 32 * 9
    assert rows["depthwise"].macs == HEIGHT * WIDTH * 32 * 9
    for path in pair:
        expected = census(onnx.load(path)).macs
        assert sum(row.macs for row in measure_layers(path, runs=1).layers) == expected
    if direct_kernel() is not None:
        assert rows["depthwise"].kernel == "depthwise"
        assert "32" in (rows["odd"].advice or "")
    assert rows["odd"].kernel == "general"
    assert all(rows[layer.name].float32_microseconds is not None for layer in LAYERS)


def test_on_arm_a_row_names_the_instruction(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segtool.benchmark.layers.on_arm", lambda: True)
    monkeypatch.setattr("segtool.benchmark.layers.instruction_sets", lambda: ["asimd", "asimddp", "i8mm"])
    rows = {row.name: row for row in measure_layers(pair[0], runs=1).layers}
    assert rows["odd"].instruction == "UMMLA"  # uint8 activations in the general kernel
    assert rows["QuantizeLinear"].instruction is None


def test_the_convolutions_of_the_float_file_are_found_behind_their_activation(pair: tuple[Path, Path]) -> None:
    rows = {row.name: row for row in measure_layers(pair[1], runs=1).layers}
    found = [rows[layer.name] for layer in LAYERS]  # onnxruntime names blocked convolutions after their ReLU
    assert {row.kernel for row in found} == {"float"}
    assert not [name for name in rows if name.endswith("/relu")]


def test_the_rows_add_up_to_all_steps_of_both_files(pair: tuple[Path, Path]) -> None:
    profiles = profile_files(pair, runs=3)
    times = measure_layers(*pair, runs=3)
    count = sum(row.steps for row in times.layers if row.name != ONLY_FLOAT32)
    assert count == len(profiles[0])
    assert times.to_dict()["total_us"] == sum(row.microseconds for row in times.layers)
    alone = {row.name: row for row in measure_layers(pair[1], runs=3).layers}
    compared = sum(row.steps for row in times.layers if row.name == ONLY_FLOAT32)
    in_both = sum(1 for name in alone if name in {row.name for row in times.layers})
    assert compared + in_both == len(alone)


def test_layers_without_names_lose_no_step(pair: tuple[Path, Path], tmp_path: Path) -> None:
    unnamed = [tmp_path / "int8.onnx", tmp_path / "float32.onnx"]
    for source, target in zip(pair, unnamed, strict=True):
        model = onnx.load(source)
        for node in model.graph.node:
            node.name = ""
        onnx.save(model, target)
    times = measure_layers(*unnamed, runs=1)
    counts = [len(steps) for steps in profile_files(unnamed, runs=1)]
    rows = {row.name: row.steps for row in times.layers}
    in_float32 = rows.pop(ONLY_FLOAT32)
    assert sum(rows.values()) == counts[0]
    shared = sum(row.steps for row in measure_layers(unnamed[1], runs=1).layers if row.name in rows)
    assert in_float32 + shared == counts[1]


def _row(name: str, us: float, float32: float | None, **more: object) -> LayerTime:
    return LayerTime(name, "QLinearConv", "", 1, 1, us, float32, **more)


def test_the_sentence_names_the_layers_that_lose_most_and_why() -> None:
    rows = (
        _row("quick", 10.0, 1000.0),
        _row("slow", 900.0, 100.0, kernel="general", advice="31 output channels: 32 would take the direct kernel"),
        _row("slower", 2000.0, 100.0, kernel="float"),
        _row("equal", 101.0, 100.0),
        _row("new", 700.0, None),
        LayerTime("QuantizeLinear", "QuantizeLinear", "", 3, 0, 5.0, 0.0),
        LayerTime(ONLY_FLOAT32, "", "", 2, 0, 0.0, 650.0),
    )
    times = LayerTimes(Path("a"), Path("b"), 1, rows)
    assert [row.name for row in times.slower()] == ["slower", "slow", "new", "QuantizeLinear"]
    text = slower_text(times)
    assert text.index("slower (") < text.index("slow (") < text.index("new (")
    assert "31 output channels" in text
    assert "QuantizeLinear" not in text
    assert slower_text(LayerTimes(Path("a"), None, 1, rows)) == ""
    assert times.to_dict()["float32_total_us"] == 1950.0


def test_a_file_with_another_input_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    model = onnx.load(pair[1])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(ModelFileError, match="fixed size"):
        measure_layers(tmp_path / "free.onnx")
    (tmp_path / "text.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        measure_layers(tmp_path / "text.onnx")


def test_transposed_convolutions_and_products_are_counted(tmp_path: Path) -> None:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = {"w": np.ones((3, 5, 4, 4), np.float32), "m": np.ones((5, 7), np.float32)}
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=floats),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("ConvTranspose", ["t", "w"], ["u"], name="up", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Transpose", ["u"], ["v"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["v", "m"], ["scores"], name="head"),
    ]
    image = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["N", 6, 8, 3])
    scores = helper.make_tensor_value_info("scores", floats, ["N", 12, 16, 7])
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "up", [image], [scores], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "up.onnx")
    rows = {row.name: row for row in measure_layers(tmp_path / "up.onnx", runs=1).layers}
    assert (rows["up"].macs, rows["up"].kernel) == (6 * 8 * 3 * 5 * 16, "float")
    assert rows["up"].shape == "4x4 /2, 3 -> 5 channels, 12x16"
    assert rows["head"].macs == 12 * 16 * 5 * 7
    assert sum(row.macs for row in rows.values()) == census(model).macs
