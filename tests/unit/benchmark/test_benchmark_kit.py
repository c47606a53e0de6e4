"""`segtool benchmark --kit`: what is in the file that an owner of a board sends in, and what is not."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.benchmark import cold_start
from segtool.cli import main
from segtool.contract import GoldenPair
from segtool.files import sha256_of
from segtool.machine.processors import available_cpus
from segtool.models.shipped import SHIPPED

SHORT = ("--runs", "10", "--warmup", "1")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a name that must not be sent; one fresh process instead of five."""
    monkeypatch.setitem(cold_start.measure_cold_start.__kwdefaults__, "repeats", 1)
    folder = tmp_path / "secretive"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def model(path: Path, *, wrong: int = 0) -> Path:
    """Write a model; `wrong` pixels of its golden pair differ."""
    contract = tiny_contract()
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 84, 1), dtype=np.uint8)
    labels = expected_labels(images, contract.num_classes)
    labels[0].flat[:wrong] += 1
    return write_model(path, contract, golden=GoldenPair(images, labels))


def kit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["benchmark", "--kit", *map(str, arguments), *SHORT])


def test_one_command_writes_everything_about_the_model_that_ships(here: Path) -> None:
    result = kit("--data", "m2nist-synthetic:20")
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in here.iterdir()] == ["segtool-kit.json"]
    found = json.loads(Path("segtool-kit.json").read_text(encoding="utf-8"))
    assert (found["schema_version"], found["command"], found["kit"]) == (1, "benchmark", True)
    assert {"cpu", "instruction_sets", "memory_bytes", "os", "packages"} <= found["machine"].keys()
    (file,) = found["files"]
    assert file["sha256"] == sha256_of(SHIPPED)
    assert (file["preset"], file["input"], file["classes"]) == ("x86", [64, 84, 1], 11)
    assert [row["passed"] for row in file["verify"]] == [True]
    assert file["layers"]["total_us"] == pytest.approx(sum(row["us"] for row in file["layers"]["layers"]))
    assert [row["threads"] for row in found["models"]] == sorted({1, available_cpus()})
    for row in found["models"]:
        assert row["file"] == 0
        assert row["accuracy"]["foreground_mean_iou"] > 0.5
        assert {"latency_ms", "throughput", "cold_start_ms", "peak_rss_mb", "size_bytes"} <= row.keys()
    assert "attach it to an issue" in " ".join(result.stderr.split())


def test_each_figure_of_benchmark_is_sent_or_left_out_on_purpose(here: Path) -> None:
    """A new key of a row would be left out silently: it must be added to `_OF_ROW`, or to these."""
    left_out = {"path", "provider_reason", "provider_options", "provider_nodes", "refused_providers"}
    file = model(here / "a.onnx")
    plain = CliRunner().invoke(main, ["benchmark", str(file), "--json", *SHORT])
    sent = kit(file, "--threads", 1, "--json", "--out", "out.json")
    rows = [json.loads(result.stdout)["models"][0].keys() for result in (plain, sent)]
    assert rows[0] - left_out == rows[1] - {"file"}


def test_it_has_no_names_and_no_paths(here: Path) -> None:
    models = [model(here / "anna.onnx"), Path(shutil.copy(SHIPPED, here / "annas.int8.onnx"))]
    result = kit(*models, "--threads", 1, "--json", "--out", "out.json")
    assert result.exit_code == 0, result.stderr
    written = Path("out.json").read_text(encoding="utf-8")
    assert json.loads(result.stdout) == json.loads(written)
    found = json.loads(written)
    assert [row["file"] for row in found["models"]] == [0, 1]
    versions = found["machine"].pop("os")
    assert platform.node() not in versions
    text = json.dumps(found)
    for name in ("anna", "secretive", str(here), str(Path.home()) + "/", f'"{getpass.getuser()}"', platform.node()):
        assert name not in text, name
    assert not [value for value in _texts(found) if value.startswith(("/", "~", "C:"))]


def _texts(value: object) -> list[str]:
    """Return all keys and texts in JSON values."""
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in _texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def test_a_file_that_fails_its_golden_test_is_sent_too(here: Path) -> None:
    result = kit(model(here / "wrong.onnx", wrong=500), "--mode", "latency")
    assert result.exit_code == 4
    assert "golden" in result.stderr
    (file,) = json.loads(Path("segtool-kit.json").read_text(encoding="utf-8"))["files"]
    assert (file["verify"][0]["passed"], file["verify"][0]["mismatching_pixels"]) == (False, 500)


def test_a_kit_is_not_overwritten_and_not_compared(here: Path) -> None:
    Path("segtool-kit.json").write_text("mine")
    refused = kit(model(here / "a.onnx"))
    assert refused.exit_code == 1
    assert "already exists" in refused.stderr
    assert Path("segtool-kit.json").read_text() == "mine"
    assert kit("a.onnx", "--compare", "segtool-kit.json").exit_code == 2
    assert kit("a.onnx", "--mode", "latency", "--overwrite").exit_code == 0
