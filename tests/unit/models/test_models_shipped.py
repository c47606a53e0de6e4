"""The model that ships: what it is, when it is taken, and that it segments digits it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import segtool
from segtool.cli import main
from segtool.data.generator import generate
from segtool.data.make import write_samples
from segtool.errors import ModelFileError
from segtool.metrics import Scores, confusion_matrix
from segtool.models.shipped import SHIPPED, default_model


def test_it_is_small_proven_and_has_a_card() -> None:
    assert SHIPPED.stat().st_size < 2e6
    segmenter = segtool.load(SHIPPED, provider="cpu")
    assert segmenter.contract.precision == "int8"
    assert segmenter.verify().mismatching_pixels == 0
    card = SHIPPED.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert "CC BY-SA 4.0" in card
    assert "/" + "tmp" not in segmenter.contract.to_json()


def test_it_segments_digits() -> None:
    data = generate(100, seed=77)
    segmenter = segtool.load(SHIPPED, provider="cpu", threads=1)
    images, labels = data.arrays(np.arange(100), size=(64, 84))
    matrix = confusion_matrix(labels, segmenter.predict_batch(images), 11)
    scores = Scores.from_matrix(matrix, class_names=data.class_names, background_id=10, images=100)
    assert scores.foreground_mean_iou > 0.9


def test_it_is_taken_where_there_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_model() == SHIPPED
    assert "model of the package" in caplog.text


def test_a_run_that_was_not_exported_is_no_reason_to_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "latest").mkdir(parents=True)
    with pytest.raises(ModelFileError, match="segtool export"):
        default_model()


def test_the_error_says_where_the_latest_run_is_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text("{}")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(elsewhere)
    with pytest.raises(ModelFileError, match=rf"runs/latest \({elsewhere}\) has no trained model yet; .*--resume"):
        default_model()
    (elsewhere / "model.keras").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=rf"\({elsewhere}\) is not exported yet; .*, or pass another model"):
        default_model()
    elsewhere.rename(tmp_path / "gone")
    with pytest.raises(ModelFileError, match="link to a run that no longer exists"):
        default_model()
    help_text = " ".join(CliRunner().invoke(main, ["predict", "--help"]).output.split())
    assert "without runs/latest, the model that ships with segtool" in help_text


def test_predict_works_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = generate(8, seed=3)
    write_samples(data, np.arange(4), tmp_path / "digits")
    result = CliRunner().invoke(main, ["predict", "digits"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "predictions").rglob("*.png"))) == 4
