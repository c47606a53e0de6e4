"""`segtool info --layers`: the table and the JSON of the layers, with the FP32 file that is beside or given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from int8_nets import Layer, write_pair

from segtool.cli import main

LAYERS = [Layer("first", 16), Layer("middle", 32), Layer("odd", 31, kernel=1), Layer("last", 8, kernel=1)]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def _pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pair(Path(), LAYERS)


def layers_of(*arguments: str) -> dict:
    result = run("info", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["layers"]


def test_the_file_that_it_was_made_from_is_compared() -> None:
    found = layers_of("model.int8.onnx", "--layers")
    assert (found["path"], found["float32_path"]) == ("model.int8.onnx", "model.onnx")
    rows = {row["name"]: row for row in found["layers"]}
    assert {layer.name for layer in LAYERS} <= rows.keys()
    assert found["total_us"] == sum(row["us"] for row in rows.values())
    assert found["float32_total_us"] == sum(row["float32_us"] or 0 for row in rows.values())
    assert [row["us"] for row in found["layers"]] == sorted((row["us"] for row in found["layers"]), reverse=True)


def test_a_file_of_another_network_is_not_compared() -> None:
    Path("model.onnx").rename("other.onnx")
    write_pair(Path("model.int8.onnx").parent, LAYERS[:2])  # an INT8 file of another network takes the name
    Path("model.onnx").write_bytes(Path("other.onnx").read_bytes())
    assert layers_of("model.int8.onnx", "--layers")["float32_path"] is None
    assert layers_of("other.onnx", "--layers")["float32_path"] is None


def test_the_table_shows_the_slowest_and_sums_the_others() -> None:
    shown = run("info", "model.int8.onnx", "--layers", "2").stdout
    assert "others" in shown
    assert "FP32 ms" in shown
    assert "one thread" in shown
    whole = run("info", "model.int8.onnx", "--layers").stdout
    assert "others" not in whole
    assert all(layer.name in whole for layer in LAYERS)
    assert "31 output channels" in whole or "general" not in whole
    assert len(layers_of("model.int8.onnx", "--layers=2")["layers"]) == 2


@pytest.mark.parametrize(
    ("arguments", "noun"),
    [
        (["--layers", "model.int8.onnx"], "after MODEL"),
        (["model.int8.onnx", "--layers", "0"], "not a number of layers"),
    ],
)
def test_wrong_usage(arguments: list[str], noun: str) -> None:
    result = run("info", *arguments)
    assert result.exit_code == 2
    assert noun in result.stderr
