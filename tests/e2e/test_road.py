"""The road as a user walks it: the commands, one after the other, in an empty folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segtool.cli import main

DATA = "m2nist-synthetic:240"


def segtool(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own and check its exit code."""
    result = subprocess.run(
        [sys.executable, "-m", "segtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == code, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stderr
    return result


def in_json(*arguments: str, cwd: Path) -> dict[str, Any]:
    """Run a command with --json; stdout holds one JSON object and nothing else."""
    value: dict[str, Any] = json.loads(segtool(*arguments, "--json", cwd=cwd).stdout)
    assert value["schema_version"] == 1
    return value


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and export have run. A few epochs teach it little; INT8 may lose all of it."""
    folder = tmp_path_factory.mktemp("road")
    segtool("train", "--data", DATA, "--epochs", "3", cwd=folder)
    segtool("export", "--quantize", "--max-drop", "100", "--waive", "speed", cwd=folder)
    return folder


def test_train_leaves_a_run_and_images_to_try(road: Path) -> None:
    run = road / "runs" / "latest"
    names = {"run.json", "history.csv", "metrics.json", "model.keras", "curves.png", "predictions.png"}
    assert names <= {path.name for path in run.iterdir()}
    assert len(list((road / "images").glob("*.png"))) == 8


def test_predict_writes_a_label_map_for_each_image(road: Path) -> None:
    names = sorted(path.name for path in (road / "images").iterdir())
    segtool("predict", *(f"images/{name}" for name in names), "--overlay", "--color", cwd=road)
    for name in names:
        with Image.open(road / "predictions" / name) as picture:
            assert picture.mode == "P"
            assert picture.size == (84, 64)
            assert np.asarray(picture).max() <= 10
    manifest = json.loads((road / "predictions" / "manifest.json").read_text())
    assert len(list((road / "predictions").glob("*.overlay.png"))) == len(names)
    assert [entry["status"] for entry in manifest["entries"]] == ["done"] * len(names)


def test_predict_goes_on_behind_a_bad_image(road: Path) -> None:
    (road / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    good = next((road / "images").glob("*.png"))
    result = segtool("predict", "bad.png", str(good), "--out", "partly", cwd=road, code=3)
    assert "bad.png" in result.stderr
    assert (road / "partly" / "manifest.json").is_file()
    assert len(list((road / "partly").rglob("*.png"))) == 1


def test_keras_and_onnx_score_the_same(road: Path) -> None:
    keras, onnx = (in_json("evaluate", f"runs/latest/{name}", cwd=road) for name in ("model.keras", "model.onnx"))
    assert keras["split"] == onnx["split"] == "val"
    assert keras["images"] == onnx["images"] == 48
    for key in ("pixel_accuracy", "mean_iou", "foreground_mean_iou", "foreground_mean_dice"):
        assert round(keras[key], 4) == round(onnx[key], 4)


def test_evaluate_draws_and_lists(road: Path) -> None:
    arguments = ("--pictures", "seen.png", "--per-image", "seen.csv", "--samples", "2")
    table = segtool("evaluate", "runs/latest", *arguments, cwd=road).stdout
    assert "foreground" in table
    assert len((road / "seen.csv").read_text().splitlines()) == 49
    with Image.open(road / "seen.png") as picture:
        assert picture.format == "PNG"
    segtool("evaluate", "runs/latest", *arguments, cwd=road, code=1)


def test_benchmark_measures_both_files(road: Path) -> None:
    result = in_json("benchmark", "--runs", "10", "--warmup", "1", cwd=road)
    assert [Path(row["path"]).name for row in result["models"]] == ["model.onnx", "model.int8.onnx"]
    for row in result["models"]:
        assert row["n"] == 10
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]


def test_info_and_verify(road: Path) -> None:
    facts = in_json("info", "runs/latest/model.int8.onnx", cwd=road)
    assert facts["precision"] == "int8"
    assert facts["classes"][10] == "background"
    assert "passed" in segtool("verify", "runs/latest/model.int8.onnx", cwd=road).stdout


def test_nothing_is_overwritten(road: Path) -> None:
    before = (road / "runs" / "latest" / "model.onnx").read_bytes()
    assert "already exists" in segtool("export", cwd=road, code=1).stderr
    assert (road / "runs" / "latest" / "model.onnx").read_bytes() == before


def test_a_gate_that_refuses_exits_4(road: Path) -> None:
    model = next((road / "runs").glob("fcn8-*")) / "model.onnx"
    import onnx

    graph = onnx.load(model)
    for item in graph.metadata_props:
        if item.key == "segtool.golden":
            golden = json.loads(item.value)
            golden["labels"] = golden["images"] | {"shape": golden["labels"]["shape"]}
            item.value = json.dumps(golden)
    onnx.save(graph, road / "tampered.onnx")
    assert "is damaged" in segtool("verify", "tampered.onnx", cwd=road, code=1).stderr
    kept = [item for item in graph.metadata_props if item.key != "segtool.crc32"]  # what its sentence says to do
    onnx.helper.set_model_props(graph, {item.key: item.value for item in kept})
    onnx.save(graph, road / "tampered.onnx")
    assert "FAILED" in segtool("verify", "tampered.onnx", cwd=road, code=4).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "--data", "nowhere"], 1, "nowhere"),
        (["train", "--device", "gpu", "--data", DATA], 1, "GPU"),
        (["train", "--epochs", "0"], 2, "--epochs"),
        (["train", "--resume", "--out", "nothing"], 1, "no run"),
        (["predict", "*.nothing", "--model", "runs/latest"], 1, "nothing"),
        (["predict", "x.png", "--model", "no.onnx"], 1, "no.onnx"),
        (["predict"], 2, "IMAGES"),
        (["evaluate", "plain.onnx", "--data", DATA], 1, "contract"),
        (["evaluate", "runs/latest", "--data", "nowhere.npz"], 1, "nowhere.npz"),
        (["export", "runs/latest/model.onnx"], 1, ".onnx"),
        (["benchmark", "--threads", "x"], 2, "--threads"),
        (["no-such-command"], 2, "No such command"),
    ],
)
def test_a_mistake_gets_one_sentence(
    road: Path, arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: starting TensorFlow anew for each would take half of this file's time."""
    monkeypatch.chdir(road)
    _write_onnx_without_contract(road / "plain.onnx")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def _write_onnx_without_contract(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    pixels = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 64, 84, 1])
    labels = helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", 64, 84, 1])
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["labels"])], "plain", [pixels], [labels])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)


def _epochs(run: Path) -> list[str]:
    history = run / "history.csv"
    return [line.split(",")[0] for line in history.read_text().splitlines()[1:]] if history.is_file() else []


@pytest.mark.heavy
def test_a_training_killed_twice_ends_with_every_epoch_once(tmp_path: Path) -> None:
    """SIGKILL in the middle of an epoch, twice; the resumed run has each epoch once."""
    run = tmp_path / "run"
    first = ["train", "--data", DATA, "--epochs", "6", "--out", "run"]
    for arguments, seen in ((first, 1), (["train", "--resume", "--out", "run"], 3)):
        process = subprocess.Popen([sys.executable, "-m", "segtool", *arguments, "-q"], cwd=tmp_path)
        deadline = time.monotonic() + 300
        while len(_epochs(run)) < seen and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    segtool("train", "--resume", "--out", "run", cwd=tmp_path)
    assert _epochs(run) == ["1", "2", "3", "4", "5", "6"]
