"""`segtool benchmark` as a user calls it; no test asserts how long anything takes."""

from __future__ import annotations

import json
import logging
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny_models import tiny_contract, write_model

from segtool.benchmark import cold_start
from segtool.cli import benchmark, main
from segtool.cli.benchmark_tables import report_benchmark
from segtool.contract import GoldenPair

SHORT = ("--runs", "10", "--warmup", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = np.zeros((2, 64, 84, 1), np.uint8)
    golden = GoldenPair(images, np.zeros((2, 64, 84), np.uint8))
    return write_model(tmp_path_factory.mktemp("models") / "model.onnx", tiny_contract(), golden=golden)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fresh process instead of five: what is tested here is not their median."""
    monkeypatch.setitem(cold_start.measure_cold_start.__kwdefaults__, "repeats", 1)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["benchmark", *arguments])


def in_json(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_all_of_it_in_json_and_in_the_file(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.json"
    result = in_json(str(model), "--threads", "1,2", "--batch", "1,2", "--out", str(out), *SHORT)
    assert json.loads(out.read_text()) == result
    assert [(row["threads"], row["batch"]) for row in result["models"]] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for row in result["models"]:
        assert row["n"] == 10
        assert row["throughput_ips"] == row["throughput"]["images_per_second"]["median"]
        assert row["cold_start_ms"] > 0
    assert result["machine"]["load_average"] is not None
    assert len(result["noise"]["controls"]) == 4
    assert (result["ranking"] is None) is not result["noise"]["quiet"]


def test_tables(model: Path) -> None:
    result = run(str(model), "--mode", "both", *SHORT)
    assert result.exit_code == 0, result.stderr
    for words in ("Latency of a run", "p99.9", "Throughput", "cold start", "decode"):
        assert words in result.stdout


def test_of_a_run_folder_its_exported_files_are_measured(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    assert "is not a run folder" in run(str(folder)).stderr
    (folder / "run.json").write_text('{"data": {"spec": "x", "fingerprint": "y", "class_names": []}}')
    (folder / "model.keras").touch()
    refused = run(str(folder))
    assert refused.exit_code == 1
    assert f"run `segtool export {folder}` first" in refused.stderr
    names = ["model.onnx", "model.int8.onnx"]
    for name in names:
        shutil.copy(model, folder / name)
    result = in_json(str(folder), str(model), "--mode", "latency", *SHORT)
    assert [row["path"] for row in result["models"]] == [*(str(folder / name) for name in names), str(model)]


def test_throughput_alone(model: Path) -> None:
    result = in_json(str(model), "--mode", "throughput", *SHORT[:2])
    assert result["noise"] is result["ranking"] is None
    assert "latency_ms" not in result["models"][0]
    assert result["models"][0]["throughput"]["n"] >= 10
    assert run(str(model), "--mode", "throughput", *SHORT[:2]).exit_code == 0


def test_several_providers_by_name(model: Path) -> None:
    result = in_json(str(model), "--provider", "auto,cpu", "--mode", "latency", *SHORT)
    assert [row["provider_reason"].split()[2] for row in result["models"]] == ["chosen:", "requested."]
    refused = run(str(model), "--provider", "cpu,openvino", "--provider-option", "a=b", *SHORT)
    assert refused.exit_code == 1
    assert "one provider" in refused.stderr


def altered(source: Path, target: Path, factor: float) -> Path:
    """Write a benchmark in which everything took `factor` times as long, without noise."""
    value = json.loads(source.read_text())
    value["noise"]["band"] = 0.0
    for row in value["models"]:
        row["latency_ms"] = {key: item and item * factor for key, item in row["latency_ms"].items()}
    target.write_text(json.dumps(value))
    return target


def test_compare_ends_with_4_where_it_got_slower(model: Path, tmp_path: Path) -> None:
    first, options = tmp_path / "first.json", (str(model), "--mode", "latency", *SHORT)
    in_json(*options, "--out", str(first))
    faster = altered(first, tmp_path / "faster.json", 1e-3)
    result = run(*options, "--compare", str(faster), "--json")
    assert result.exit_code == 4
    assert "got slower" in result.stderr
    assert [row["verdict"] for row in json.loads(result.stdout)["comparison"]["rows"]] == ["slower"]
    slower = altered(first, tmp_path / "slower.json", 1e3)
    result = run(*options, "--compare", str(slower))
    assert result.exit_code == 0, result.stderr
    assert "faster" in result.stdout


def test_a_benchmark_to_compare_with_that_does_not_exist_is_one_sentence(model: Path, tmp_path: Path) -> None:
    result = run(str(model), "--compare", str(tmp_path / "nope.json"))
    assert result.exit_code == 1
    assert "nope.json cannot be read (No such file or directory); expected a file of" in result.stderr


def test_compare_with_what_was_not_measured_is_refused_first(model: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    in_json(str(model), "--mode", "latency", "--out", str(first), *SHORT)
    for options in (("--batch", "2"), ("--mode", "throughput")):
        result = run(str(model), *options, "--compare", str(first), "--runs", "1000000")
        assert result.exit_code == 1
        assert "none of these cases" in result.stderr


def test_data_that_do_not_fit_are_refused_before_anything_is_measured(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "rgb.npz", images=np.zeros((2, 64, 84, 3), np.uint8), labels=np.zeros((2, 64, 84), np.uint8))
    result = run(str(model), "--data", str(tmp_path / "rgb.npz"), "--runs", "1000000")
    assert result.exit_code == 1
    assert "1 channel," in result.stderr


def test_nothing_is_overwritten(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("mine")
    result = run(str(model), "--out", str(out), *SHORT)
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert out.read_text() == "mine"
    assert run(str(model), "--mode", "latency", "--out", str(out), "--overwrite", *SHORT).exit_code == 0
    assert json.loads(out.read_text())["command"] == "benchmark"


@pytest.mark.parametrize("named", ["model.onnx", "old.json"])
def test_what_is_read_is_not_overwritten_either(model: Path, tmp_path: Path, named: str) -> None:
    copy = Path(shutil.copy(model, tmp_path / "model.onnx"))
    old = tmp_path / "old.json"
    assert run(str(copy), "--mode", "latency", "--out", str(old), *SHORT).exit_code == 0
    before = (tmp_path / named).read_bytes()
    result = run(str(copy), "--compare", str(old), "--out", str(tmp_path / named), "--overwrite", *SHORT)
    assert result.exit_code == 1
    assert "would replace or join the input" in result.stderr
    assert (tmp_path / named).read_bytes() == before


def test_without_a_model_and_a_run_it_is_the_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("--mode", "latency", "--json", *SHORT)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["models"][0]["path"].endswith("m2nist.int8.onnx")


@pytest.mark.parametrize(
    "options",
    [
        ("--runs", "10", "--seconds", "1"),
        ("--overwrite",),
        ("--mode", "fast"),
        ("--seconds", "0"),
    ],
)
def test_wrong_usage(model: Path, options: tuple[str, ...]) -> None:
    assert run(str(model), *options).exit_code == 2


@pytest.fixture(scope="module")
def eight_cases(model: Path) -> dict[str, Any]:
    """What was measured once, as if of eight settings."""
    result = in_json(str(model), *SHORT)
    settings = product(("CPUExecutionProvider", "OpenVINOExecutionProvider"), (1, 2), (1, 8))
    rows = [{**result["models"][0], "provider": name, "threads": n, "batch": size} for name, n, size in settings]
    return {**result, "models": rows, "ranking": None}


def in_terminal(
    result: dict[str, Any], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """The lines of the tables that hold something."""
    monkeypatch.setenv("COLUMNS", str(columns))
    report_benchmark(result)
    return [line for line in capsys.readouterr().out.splitlines() if line[:1] in "┃│"]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_nothing_in_the_tables_is_broken(
    eight_cases: dict[str, Any],
    columns: int,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{**row, "path": "runs/latest/model.int8.onnx"} for row in eight_cases["models"][:count]]
    lines = in_terminal({**eight_cases, "models": rows}, columns, monkeypatch, capsys)
    assert max(map(len, lines)) <= columns
    for words in ("95 % interval", "p99.9", "images/s (mean)", "cold start", "import"):
        assert any(words in line for line in lines)
    numbers = [cell.strip() for line in lines if line[0] == "│" for cell in line.strip("│").split("│")[1:]]
    assert all(re.fullmatch(r"(-|CPU|OpenVINO|[\d.]+( to [\d.]+)?)?", cell) for cell in numbers)  # none is broken


def test_a_name_wider_than_the_terminal_goes_on_below(
    eight_cases: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"/models/{'a' * 100}/model.int8.onnx"
    lines = in_terminal(
        {**eight_cases, "models": [{**eight_cases["models"][0], "path": name}]}, 80, monkeypatch, capsys
    )
    assert max(map(len, lines)) <= 80
    assert name in "".join(line.strip("│").split("│")[0].strip() for line in lines if line[0] == "│")


def test_what_the_figures_are_of_is_said(model: Path) -> None:
    result = run(str(model), "--data", "m2nist-synthetic:50", *SHORT)
    assert result.exit_code == 0, result.stderr
    assert "(CPU, threads 1, batch 1)" in result.stdout
    assert "foreground IoU %" in result.stdout
    words = " ".join(result.stderr.split())
    assert "images/s (mean) is batch / mean time" in words
    assert "total images/s of all sessions" in words
    assert "on 50 images of m2nist-synthetic:50 (all)" in words


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", 1)], "too noisy for exact times"),
        ([("a", 1), ("a", 2)], "to decide which setting is faster"),
        ([("a", 1), ("b", 1)], "to decide which model is faster"),
    ],
)
def test_noise_is_put_in_words_for_what_was_measured(
    rows: list[tuple[str, int]], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    noise = {"quiet": False, "band": 0.2, "limit": 0.05}
    result = {
        "noise": noise,
        "machine": {"load_average": None},
        "models": [{"path": path, "threads": threads} for path, threads in rows],
    }
    with caplog.at_level(logging.WARNING, "segtool"):
        benchmark._warn_about_noise(result)
    assert words in caplog.text
