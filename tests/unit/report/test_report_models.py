"""The report of several models, and of runs behind links: the same images for all, names that last, files apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from report_runs import SIZE, SPLIT, write_data, write_report_run
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.cli import main
from segtool.contract import GoldenPair, default_palette
from segtool.data.loading import load_dataset


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments), "--no-latency"])


def write_file(path: Path, data: str, **split: Any) -> Path:
    """A model file that says that it was trained on `data`, divided as `split` says."""
    dataset = load_dataset(data, **split)
    images, names = dataset.images([0, 1], size=SIZE), dataset.class_names
    contract = tiny_contract(
        height=SIZE[0],
        width=SIZE[1],
        class_names=names,
        palette=default_palette(len(names), background_id=dataset.background_id),
        background_id=dataset.background_id,
        data_fingerprint=dataset.fingerprint(),
        split=split,
    )
    labels = expected_labels(images, classes=len(names))
    return write_model(path, contract, golden=GoldenPair(images, labels))


def found_in(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.with_name(f"{page.name}.json").read_text())
    return found


def images_of(model: dict[str, Any]) -> set[int]:
    return {each["index"] for each in model["per_image"]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "digits.npz")


def test_a_report_beside_its_data_leaves_them_usable(data: Path) -> None:
    """digits.json beside digits.npz would describe the data."""
    model = write_file(data.parent / "model.onnx", str(data), **SPLIT)
    page = data.with_suffix(".html")
    result = run(model, "--data", data, "--out", page)
    assert result.exit_code == 0, result.output
    assert len(found_in(page)["models"]) == 1
    assert len(load_dataset(str(data))) == 48


@pytest.mark.parametrize("part", [(), ("--split", "val")])
def test_models_that_left_out_other_images_are_refused(data: Path, part: tuple[str, ...]) -> None:
    """Both were trained on these data, and each left out other images."""
    size = {"val_split": 0.4, "test_split": 0.0}
    files = [write_file(data.parent / f"{seed}.onnx", str(data), seed=seed, **size) for seed in (3, 4)]
    page = data.parent / "both.html"
    result = run(*files, "--data", data, *part, "--out", page)
    assert (result.exit_code, "--split all" in result.stderr) == (1, True)
    assert not page.exists()
    scored_on_all = run(*files, "--data", data, "--split", "all", "--out", page)
    assert scored_on_all.exit_code == 0, scored_on_all.output
    assert [model["trained_on"] for model in found_in(page)["models"]] == [28, 28]


def test_the_generator_composes_the_same_images_for_all(tmp_path: Path) -> None:
    """With each model's own shares it would compose 12 images for one and 6 others for the other."""
    size = {"seed": 3, "test_split": 0.0}
    first = write_file(tmp_path / "first.onnx", "m2nist-synthetic:50", val_split=0.2, **size)
    second = write_file(tmp_path / "second.onnx", "m2nist-synthetic:50", val_split=0.1, **size)
    page = tmp_path / "both.html"
    result = run(first, second, "--data", "m2nist-synthetic:60", "--split", "val", "--out", page)
    assert result.exit_code == 0, result.output
    found = found_in(page)
    assert [model["evaluation"]["images"] for model in found["models"]] == [12, 12]
    assert len({model["evaluation"]["data_fingerprint"] for model in found["models"]}) == 1


def test_where_one_model_saw_the_images_no_winner_is_named(data: Path) -> None:
    first = write_file(data.parent / "first.onnx", str(data), **SPLIT)
    second = write_file(data.parent / "second.onnx", str(write_data(data.parent / "other.npz", count=20)), **SPLIT)
    page = data.parent / "both.html"
    result = run(first, second, "--data", data, "--split", "all", "--out", page)
    assert result.exit_code == 0, result.output
    found = found_in(page)
    one, two = found["models"]
    assert images_of(one) == images_of(two)
    assert (one["trained_on"], two["trained_on"]) == (36, None)
    assert (found["verdict"]["model"], found["verdict"]["answer"]) == (None, "open")
    assert "no model is named best" in result.stderr.replace("\n", " ")
    text = page.read_text(encoding="utf-8")
    assert "Which file to deploy is open" in text
    assert "The best of" not in text


def test_without_data_runs_of_different_data_are_refused(tmp_path: Path) -> None:
    folders = [write_report_run(tmp_path / name / "run") for name in ("a", "b")]
    page = tmp_path / "both.html"
    result = run(*folders, "--out", page)
    assert (result.exit_code, "pass --data" in result.stderr.replace("\n", " ")) == (1, True)
    assert not page.exists()


def test_a_run_behind_a_link_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_report_run(Path("runs", "first"))
    Path("runs", "latest").symlink_to("first")
    result = run()
    assert result.exit_code == 0, result.output
    page = Path("runs", "first", "report.html")
    assert "latest" not in page.read_text(encoding="utf-8")
    assert "latest" not in page.with_name("report.html.json").read_text()
    assert found_in(page)["runs"][0]["path"] == str(Path("runs", "first"))
    named = run(Path("runs", "latest", "model.onnx"), "--out", "one.html")
    assert named.exit_code == 0, named.output
    assert "latest" not in Path("one.html.json").read_text()
