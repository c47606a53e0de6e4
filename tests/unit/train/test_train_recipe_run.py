"""Runs with what a recipe can hold beside the usual: averages, early ends, a width, the same bits twice."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny_nets import build_small

from segtool.errors import OutputExistsError, ProviderError, SegtoolError, TrainingError
from segtool.train import architectures
from segtool.train.callbacks import TrainListener
from segtool.train.checkpoint import Progress
from segtool.train.options import TrainOptions
from segtool.train.run_folder import RunFolder
from segtool.train.sample_store import SampleStore
from segtool.train.trainer import resume, train


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
    monkeypatch.chdir(tmp_path)


def _options(data: Path, **changes: Any) -> TrainOptions:
    return TrainOptions(**{"data": str(data), "arch": "small", "epochs": 3, "precision": "float32", **changes})


def _rows(folder: str | Path) -> list[dict[str, str]]:
    with RunFolder(folder).history.open(newline="") as handle:
        return list(csv.DictReader(handle))


def _weights(folder: str | Path) -> list[np.ndarray]:
    return list(keras.saving.load_model(RunFolder(folder).model).get_weights())


class Stop(TrainListener):
    """Raises in the midst of an epoch, as a kill would strike."""

    def __init__(self, epoch: int, step: int = 2) -> None:
        self.place = epoch, step

    def step(self, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002
        if (epoch, step) == self.place:
            raise KeyboardInterrupt


def test_every_value_is_kept_and_a_stopped_run_goes_on_to_the_same_end(squares: Path) -> None:
    changes = {
        "augment": "noise:3,scale,shift:2", "loss": "combined", "class_weights": "balanced", "optimizer": "sgd",
        "schedule": "constant", "learning_rate": 0.02, "patience": 7, "width": 0.5,
    }  # fmt: skip
    train(_options(squares, **changes), out="whole")
    with pytest.raises(KeyboardInterrupt):
        train(_options(squares, **changes), out="run", listener=Stop(2))
    with pytest.raises(KeyboardInterrupt):
        resume("run", listener=Stop(3))
    resume("run")
    for key in ("loss", "val_loss", "val_foreground_mean_iou", "learning_rate"):
        ours, theirs = ([float(row[key]) for row in _rows(name)] for name in ("run", "whole"))
        np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    for ours, theirs in zip(_weights("run"), _weights("whole"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    info = RunFolder("run").read_info()
    assert info["recipe_values"] == {
        "epochs": 3, "batch_size": 16, "learning_rate": 0.02, "warmup_epochs": 1, "schedule": "constant",
        "optimizer": "sgd", "weight_decay": 0.0, "augment": "scale:0.15,shift:2,noise:3", "loss": "combined",
        "class_weights": "balanced", "patience": 7, "crop_pixels": 0, "auxiliary": 0.0,
    }  # fmt: skip
    with np.load(squares) as stored:
        assert info["config"]["class_weights"] == "balanced"
        assert len(info["class_weights"]) == len(np.unique(stored["labels"]))
    assert info["class_weights"][0] < min(info["class_weights"][1:])
    assert info["parameters"] == 4 * 10 + 4 * 4 + 3 * 5


def test_a_resume_makes_the_best_model_from_the_checkpoint_alone(squares: Path) -> None:
    train(_options(squares, epochs=1), out="run")
    kept = _weights("run")
    RunFolder("run").model.unlink()
    resume("run")
    for ours, theirs in zip(_weights("run"), kept, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def _flat(monkeypatch: pytest.MonkeyPatch, best: int) -> None:
    """Let the epoch `best` be the best, whatever the network learns."""
    add = Progress.add

    def scored(self: Progress, row: dict[str, Any], score: float) -> None:
        add(self, row, 1.0 if row["epoch"] == best else 0.5)

    monkeypatch.setattr(Progress, "add", scored)


def test_a_run_ends_when_no_better_epoch_comes(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flat(monkeypatch, best=2)
    result = train(_options(squares, epochs=9, patience=3), out="run")
    assert (result.epochs, result.best_epoch, result.stopped_early) == (5, 2, True)
    assert resume("run").epochs == 5  # it stays ended
    assert not train(_options(squares, epochs=4, patience=3), out="other").stopped_early


def test_patience_counts_on_through_a_kill(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _flat(monkeypatch, best=2)
    with pytest.raises(KeyboardInterrupt):
        train(_options(squares, epochs=9, patience=3), out="run", listener=Stop(4))
    assert [row["epoch"] for row in _rows("run")] == ["1", "2", "3"]
    assert resume("run").epochs == 5


def test_patience_is_exhausted_by_epochs_without_a_better_one() -> None:
    progress = Progress()
    assert not progress.exhausted(1)
    for epoch, score in enumerate((0.1, 0.5, 0.5, 0.4), start=1):
        progress.add({"epoch": epoch}, score)
    assert [progress.exhausted(patience) for patience in (0, 1, 2, 3)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"class_weights": "1,2"}, TrainingError, "2 numbers and the data have 3 classes"),
        ({"device": "gpu"}, ProviderError, "A GPU was requested"),
        ({}, OutputExistsError, "large already exists"),
    ],
)
def test_what_needs_no_pass_over_the_data_is_refused_before_it(
    squares: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], error: type[SegtoolError], says: str
) -> None:
    train(_options(squares, epochs=1), out="large")

    def read(_: SampleStore) -> None:
        raise RuntimeError("the data were read")

    monkeypatch.setattr(SampleStore, "read", read)
    with pytest.raises(error, match=says):
        train(_options(squares, size=(16, 16), **changes), out="large" if not changes else "run")


# In a process of its own: what it switches on stays on. Threads, augmentation and a resume take part.
_TWICE = """
import sys
sys.path[:0] = {tests!r}
from segtool.train import architectures
from test_train_recipe_run import Stop
from tiny_nets import build_small
from segtool.train.options import TrainOptions
from segtool.train.trainer import resume, train
architectures.ARCHITECTURES = {{"small": build_small}}
options = TrainOptions(data={data!r}, arch="small", epochs=3, augment="elastic:2,noise", deterministic=True)
train(options, out="first")
try:
    train(options, out="second", listener=Stop(2))
except KeyboardInterrupt:
    resume("second")
"""


def test_a_deterministic_run_ends_with_the_same_bits_twice_even_through_a_stop(squares: Path) -> None:
    code = _TWICE.format(tests=[str(folder) for folder in Path(__file__).parents[:2]], data=str(squares))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for ours, theirs in zip(_weights("first"), _weights("second"), strict=True):
        assert ours.tobytes() == theirs.tobytes()
    rows = [[{**row, "seconds": ""} for row in _rows(name)] for name in ("first", "second")]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 3
