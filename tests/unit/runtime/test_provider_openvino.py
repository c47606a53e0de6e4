"""A second real provider: OpenVINO on the CPU, with onnxruntime-openvino in place of onnxruntime (CONTRIBUTING.md).

What is asked here of one provider holds for all: by name, by auto, its options, its threads, and every way in which
onnxruntime quietly goes on without it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image
from tiny_models import expected_labels, tiny_contract, write_model

import segtool
from segtool.contract import GoldenPair
from segtool.doctor.provider_probe import probe_providers
from segtool.errors import ProviderError
from segtool.runtime.session import CPU, open_session

NAME = "OpenVINOExecutionProvider"
REPORTS_NODES = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")

pytestmark = [
    pytest.mark.openvino,
    pytest.mark.skipif(
        not (NAME in ort.get_available_providers() and REPORTS_NODES),
        reason="onnxruntime-openvino of 1.24 or later is not installed",
    ),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 84, 1), dtype=np.uint8)
    golden = GoldenPair(images=images, labels=expected_labels(images))
    return write_model(tmp_path / "model.onnx", tiny_contract(), golden=golden)


def write_chain(path: Path, *operators: str) -> Path:
    """Write a graph of operators, one behind the other; OpenVINO has no Det."""
    names = ["x", *(f"y{index}" for index in range(len(operators)))]
    nodes = [
        helper.make_node(operator, [before], [after])
        for operator, before, after in zip(operators, names, names[1:], strict=False)
    ]
    shape = [8] if "Det" in operators else [8, 4, 4]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 4, 4])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "segtool", *arguments], capture_output=True, text=True, check=False)


def test_by_name_and_by_auto(model: Path) -> None:
    for provider in ("openvino", "OpenVINO", NAME, "auto"):
        report = segtool.load(model, provider=provider, threads=2).provider_report
        assert report["provider"] == NAME
        assert report["provider_nodes"] == {"nodes": 8, "total": 8}
        assert report["provider_options"] == {"num_of_threads": "2"}
        assert report["refused_providers"] == []


def test_it_gives_the_labels_of_the_cpu(model: Path) -> None:
    result = segtool.load(model, provider="openvino").verify()
    assert (result.provider, result.mismatching_pixels, result.passed) == (NAME, 0, True)


def test_a_file_made_for_the_cpu_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contract = tiny_contract(convolutions={"algorithm": "winograd"})
    path = write_model(tmp_path / "model.onnx", contract)
    segtool.load(path, provider="cpu")
    assert not caplog.records
    segtool.load(path, provider="openvino")
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has Winograd's convolutions for a CPU, but runs on {NAME}; export it again with --winograd off."
    ]


def test_doctor_runs_a_model_on_it() -> None:
    assert probe_providers()[NAME] is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"nonsense": "1"}, "Invalid OpenVINO EP option: nonsense"),
        ({"device_type": "GPU"}, r"fell back to CPUExecutionProvider .*Device GPU is not available"),
        ({"device_type": "XYZ"}, r"leaves all nodes of this model to the CPU \(it runs 0 of 8 nodes\)"),
        ({"precision": "FP8"}, "Unsupported inference precision"),
        ({"load_config": "none.json"}, "fell back .*parse"),
        ({"num_of_threads": "0"}, "expected a positive integer"),
        ({"num_of_threads": "2"}, "1 threads were requested"),
    ],
    ids=lambda value: "-".join(value) + "-" + next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_refused(model: Path, options: dict[str, str], why: str, capfd: pytest.CaptureFixture[str]) -> None:
    if options == {"device_type": "GPU"} and Path("/dev/dri").exists():
        pytest.skip("this machine may have a GPU for OpenVINO")
    with pytest.raises(ProviderError, match=why):
        segtool.load(model, provider="openvino", threads=1, provider_options=options)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")  # onnxruntime prints to stdout and logs to stderr


def test_options_arrive(model: Path) -> None:
    opened = open_session(model, provider="openvino", provider_options={"num_of_threads": 1, "precision": "FP32"})
    assert opened.threads == 1
    assert opened.options == {"num_of_threads": "1", "precision": "FP32"}


def test_threads_are_those_of_its_own_pool(tmp_path: Path) -> None:
    # A process that runs with 4 threads has some more than one that runs with 1.
    program = (
        "import os, sys, numpy\n"
        "from segtool.runtime.session import open_session\n"
        "opened = open_session(sys.argv[1], provider='openvino', threads=int(sys.argv[2]))\n"
        "opened.session.run(None, {'x': numpy.ones((1, 64, 128, 128), 'f')})\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    if not Path("/proc/self/task").is_dir() or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs /proc and two processors")
    weights = onnx.numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "w")
    shape = [1, 64, 128, 128]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weights],
    )
    path = tmp_path / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def tasks(threads: int) -> int:
        command = [sys.executable, "-c", program, str(path), str(threads)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert tasks(2) > tasks(1) + 1  # one more of onnxruntime's own pool, and those of OpenVINO's


def test_a_part_of_the_graph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    most = open_session(write_chain(tmp_path / "most.onnx", "Relu", "Exp", "Det"), provider="openvino")
    assert "runs 2 of 3 nodes" in most.reason
    assert not caplog.records
    path = write_chain(tmp_path / "least.onnx", "Relu", "Det")
    assert open_session(path, provider="auto").provider == NAME  # half is enough


def test_less_than_half_of_the_graph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "least.onnx"
    shape = helper.make_tensor_value_info
    nodes = [helper.make_node("Det", [f"x{index}"], [f"y{index}"]) for index in range(2)]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Add", ["y0", "y1"], ["y"])],
        "dets",
        [shape(f"x{index}", TensorProto.FLOAT, [8, 4, 4]) for index in range(2)],
        [shape("y", TensorProto.FLOAT, [8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with caplog.at_level(logging.WARNING, logger="segtool"):
        named = open_session(path, provider="openvino")
    assert named.provider == NAME
    assert "runs only 1 of 3 nodes of this model; the CPU runs the other nodes" in caplog.text
    opened = open_session(path)
    assert opened.provider == CPU
    assert opened.refused == {NAME: f"{NAME} starts, but would run only 1 of 3 nodes of this model."}
    assert opened.refused[NAME] in opened.reason


def test_the_command_line(model: Path, tmp_path: Path) -> None:
    image, out = tmp_path / "image.png", tmp_path / "out"
    Image.fromarray(np.zeros((64, 84), np.uint8)).save(image)
    options = ("--provider", "openvino", "--provider-option", "num_of_threads=1", "--provider-option", "precision=FP32")
    finished = cli("predict", str(image), "--model", str(model), "--out", str(out), "--json", *options)
    assert finished.returncode == 0, finished.stderr
    printed, written = json.loads(finished.stdout), json.loads((out / "manifest.json").read_text())
    for manifest in (printed, written):
        assert manifest["provider"] == NAME
        assert manifest["threads"] == 1
        assert manifest["provider_options"] == {"num_of_threads": "1", "precision": "FP32"}
    finished = cli("verify", str(model), "--provider", "openvino", "--provider-option", "nonsense=1", "--json")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "Invalid OpenVINO EP option: nonsense" in finished.stderr


def test_benchmark(model: Path) -> None:
    options = ("--provider", "openvino", "--provider-option", "num_of_threads=1", "--runs", "10", "--warmup", "1")
    finished = cli("benchmark", str(model), *options, "--json")
    assert finished.returncode == 0, finished.stderr
    (row,) = json.loads(finished.stdout)["models"]
    assert (row["provider"], row["threads"], row["provider_nodes"]["nodes"]) == (NAME, 1, 8)
