"""The FP32 file with Winograd's convolutions: where it was asked for, or timed to be faster."""

import re

import onnx
import pytest
from click.testing import CliRunner
from tiny_nets import build_tiny, write_run

import segtool.runtime.opening
from segtool.cli.export import command
from segtool.export import ExportOptions, export_model
from segtool.export.presets import is_own, preset_for

OTHER = "x86" if is_own(preset_for("arm")) else "arm"


@pytest.fixture
def wide(tmp_path):
    """A run of a network with one convolution of enough channels in front of a pooling."""
    return write_run(tmp_path / "wide", build_tiny(widths=(6, 32)))


def products(path):
    """How many weights a file computes when it is opened."""
    graph = onnx.load(path).graph
    stored = {item.name for item in graph.initializer}
    return sum(node.op_type == "MatMul" and set(node.input) <= stored for node in graph.node)


@pytest.mark.parametrize(
    ("options", "algorithm", "count"),
    [({"winograd": "on"}, "winograd", 4), ({"winograd": "off"}, None, 0), ({"preset": OTHER}, None, 0)],
)
def test_it_is_taken_where_asked_for(wide, options, algorithm, count):
    result = export_model(wide, options=ExportOptions(**options))
    assert result.contract.convolutions.get("algorithm") == algorithm
    assert products(result.float32) == count
    segmenter = segtool.runtime.opening.load(result.float32, provider="cpu")
    assert segmenter.contract.convolutions == dict(result.contract.convolutions)
    assert segmenter.verify().mismatching_pixels == 0


def test_by_default_the_time_decides_and_is_told(wide):
    done = CliRunner().invoke(command, [str(wide), "--quantize", "--max-drop", "100", "--waive", "speed"])
    assert done.exit_code == 0, done.output
    facts = segtool.runtime.opening.load(wide / "model.onnx", provider="cpu").contract.convolutions
    assert sorted(facts) == ["algorithm", "cpu", "threads"]  # the times would differ in each run
    found = re.search(r"([\d.]+) to [\d.]+ times as fast on this machine", " ".join(done.output.split()))
    low = float(found[1])
    assert facts["algorithm"] == ("winograd" if low > 1 else "direct") or low == 1
    assert products(wide / "model.onnx") == (4 if facts["algorithm"] == "winograd" else 0)
    assert not segtool.runtime.opening.load(wide / "model.int8.onnx", provider="cpu").contract.convolutions


def test_asking_for_it_in_vain_is_said(run, caplog):
    result = export_model(run, options=ExportOptions(winograd="on"))
    assert result.contract.convolutions == {}
    (warning,) = result.warnings
    assert warning.startswith("--winograd on changed nothing: this network has no 3x3 convolution")
    assert warning in caplog.text


def test_a_network_without_such_convolutions_says_nothing(run):
    assert export_model(run).contract.convolutions == {}
    assert "Winograd" not in CliRunner().invoke(command, [str(run), "--overwrite"]).output
