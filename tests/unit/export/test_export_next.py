"""What `segtool export` says to do next: a command that works, and takes the file that it recommends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from tiny_nets import tiny_data, write_run

from segtool.cli import main
from segtool.data.loading import load_dataset
from segtool.models.shipped import default_model

QUANTIZE = ("--quantize", "--max-drop", "100", "--waive", "speed")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run on a folder of images, which is the latest."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "my data"
    for name, arrays in zip(("images", "masks"), tiny_data(), strict=True):
        (data / name).mkdir(parents=True)
        for index, array in enumerate(arrays.squeeze()):
            Image.fromarray(array).save(data / name / f"{index:02d}.png")
    folder = write_run(tmp_path / "runs" / "first")
    info = json.loads((folder / "run.json").read_text())
    info["data"] |= {"spec": "my data", "fingerprint": load_dataset("my data", seed=3, val_split=0.25).fingerprint()}
    (folder / "run.json").write_text(json.dumps(info))
    (tmp_path / "runs" / "latest").symlink_to("first")
    return folder


def command(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def next_of(result):
    line = next(line for line in result.stderr.splitlines() if line.startswith("Next: "))
    return shlex.split(line.removeprefix("Next: segtool "))


def test_the_command_works_and_takes_the_file_that_was_recommended(run):
    result = command("export", *QUANTIZE)
    advised = next(word for word in result.stderr.split() if word.endswith(".onnx:")).rstrip(":")
    assert default_model().resolve() == Path(advised).resolve()
    arguments = next_of(result)
    assert arguments == ["predict", "my data/images"]
    assert advised in " ".join(command(*arguments).stderr.split())


def test_names_are_quoted(run, tmp_path):
    arguments = next_of(command("export", run, "--out", "r/o ü/m.onnx"))
    assert arguments == ["predict", "my data/images", "--model", "r/o ü/m.onnx"]
    command(*arguments)


def test_without_a_folder_of_images_a_word_stands_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save("images/of_something_else.png")
    assert next_of(command("export", write_run(tmp_path / "run")))[1] == "YOUR_IMAGES"


def test_verbose_measures_the_layers_of_the_int8_file_beside_float32(run):
    result = command("export", *QUANTIZE, "-v", "--json")
    answer = json.loads(result.stdout)
    found = answer["layers"]
    assert (found["path"], found["float32_path"]) == (answer["int8"], answer["float32"])
    assert {"direct", "depthwise", "general"} & {row["kernel"] for row in found["layers"]}
    again = command("export", *QUANTIZE, "--overwrite")
    assert "million MACs" not in again.stdout
