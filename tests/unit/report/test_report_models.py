"""The report of several models, and of runs behind links: the same images for all, names that last, files apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
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


def test_with_data_all_models_are_scored_on_images_that_none_was_trained_on(data: Path) -> None:
    """Both were trained on these data, and each left out other images."""
    first = write_file(data.parent / "first.onnx", str(data), seed=3, val_split=0.4, test_split=0.0)
    second = write_file(data.parent / "second.onnx", str(data), seed=4, val_split=0.4, test_split=0.0)
    page = data.parent / "both.html"
    result = run(first, second, "--data", data, "--split", "val", "--out", page)
    assert result.exit_code == 0, result.output
    found = found_in(page)
    one, two = (images_of(model) for model in found["models"])
    assert one == two
    assert 0 < len(one) < 19
    assert [model["trained_on"] for model in found["models"]] == [0, 0]
    assert found["selection_note"] in result.stderr.replace("\n", " ")
    assert f"all are scored on {len(one)} images" in found["selection_note"]
    assert found["verdict"]["model"] is not None


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
    assert f"12 images of m2nist-synthetic:60, part val, as split for {first}" in found["selection_note"]
    assert found["selection_note"] in page.read_text(encoding="utf-8")


def test_where_one_model_saw_the_images_no_winner_is_named(data: Path) -> None:
    """No image is left out by both trainings."""
    size = {"val_split": 0.05, "test_split": 0.0}
    first = write_file(data.parent / "first.onnx", str(data), seed=3, **size)
    second = write_file(data.parent / "second.onnx", str(data), seed=4, **size)
    page = data.parent / "both.html"
    result = run(first, second, "--data", data, "--out", page)
    assert result.exit_code == 0, result.output
    found = found_in(page)
    one, two = found["models"]
    assert images_of(one) == images_of(two)
    assert (one["trained_on"], two["trained_on"]) == (0, len(images_of(two)))
    assert (found["verdict"]["model"], found["verdict"]["answer"]) == (None, "open")
    assert "no model is named best" in result.stderr.replace("\n", " ")
    text = page.read_text(encoding="utf-8")
    assert "Which file to deploy is open" in text
    assert "The best of" not in text


def test_without_data_runs_on_other_images_are_not_ranked(tmp_path: Path) -> None:
    folders = [write_report_run(tmp_path / name / "run") for name in ("a", "b")]
    other = tmp_path / "b" / "data.npz"
    np.savez(other, **{**np.load(other), "images": np.load(other)["images"] ^ 1})
    page = tmp_path / "both.html"
    result = run(*folders, "--out", page)
    assert result.exit_code == 0, result.output
    assert found_in(page)["verdict"]["answer"] == "open"
    assert "scored on different images" in result.stderr.replace("\n", " ")


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
