"""What `data` and `train` say of a data set on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_models import tiny_contract, write_model

from segtool.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def text(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder whose train part has three images and whose val part has one, with undescribed masks."""
    for part, count in (("train", 3), ("val", 1)):
        for index in range(count):
            image = np.full((20, 30), len(part) * 10 + index, np.uint8)
            for kind, array in (("images", image), ("masks", np.eye(20, 30, dtype=np.uint8))):
                path = tmp_path / "data" / part / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    monkeypatch.chdir(tmp_path)
    return "data"


def test_info_shows_the_parts_and_why_a_class_is_the_background(parts: str) -> None:
    shown = text(run("data", "info", parts))
    assert "train 3 images, val 1 image" in shown
    assert "Nothing says which class is the background, which foreground means leave out: 'class 0'" in shown
    facts = json.loads(run("data", "info", parts, "--json").stdout)
    assert facts["splits"] == {"train": 3, "val": 1}
    assert facts["background"] == "class 0"
    assert "the key background of a dataset.json" in facts["background_note"]
    assert "none: train splits the data (--val-split, --test-split)" in text(run("data", "info", f"{parts}/train"))


def test_check_shows_which_class_is_the_background(parts: str) -> None:
    result = run("data", "check", parts)
    assert result.exit_code == 0
    assert "data: 4 images, nothing wrong found. Nothing says which class is the background" in text(result)
    assert json.loads(run("data", "check", parts, "--json").stdout)["background"] == "class 0"


def test_many_classes_that_occur_nowhere_are_one_line(parts: str) -> None:
    (Path(parts) / "dataset.json").write_text(json.dumps({"classes": [f"c{index}" for index in range(400)]}))
    write_model(Path("m.onnx"), tiny_contract(height=20, width=30, class_names=tuple(f"c{i}" for i in range(400))))
    for command in (["data", "info", parts], ["evaluate", "m.onnx", "--data", parts]):
        shown = text(run(*command))
        assert "398 classes that occur nowhere are left out of the table" in shown or "evaluate" in command
        assert "c0" in shown
        assert "c399" not in shown
        assert "and 388 more" in shown or "info" in command


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rare-crops", "0.5", "--recipe", "fast"], "--rare-crops needs crops, and this recipe trains on whole"),
        (["--crop", "8x8", "--size", "8x8"], "--size resizes the images and --crop keeps their scale"),
        (["--augment", "none,shift"], "The word none cannot be combined, found 'none,shift'"),
    ],
)
def test_options_that_mean_nothing_together_are_wrong_usage(parts: str, options: list[str], says: str) -> None:
    result = run("train", "--data", parts, *options)
    assert result.exit_code == 2
    assert says in text(result)


def test_a_shift_beyond_half_of_a_side_is_refused(parts: str) -> None:
    result = run("train", "--data", parts, "--augment", "noise,shift:1000")
    assert result.exit_code == 1
    assert "shift:1000 moves by up to 1000 pixels in images of 20 x 30 (height x width), expected half" in text(result)
    assert "--augment with shift:10 or less" in text(result)
    assert not Path("runs").exists()
