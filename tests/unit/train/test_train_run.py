"""Runs: the folder, the checkpoint, resuming, and what is refused. A small network stands in for FCN-8."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny_nets import build_small

from segtool.errors import DataError, ModelFileError, OutputExistsError, OutputWriteError, TrainingError
from segtool.train import architectures
from segtool.train.batches import TrainingBatches
from segtool.train.callbacks import TrainListener
from segtool.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from segtool.train.options import TrainOptions
from segtool.train.run_folder import RunFolder
from segtool.train.trainer import resume, train


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def complete(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of one epoch, trained once; tests work on copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
        return train(_options(squares, epochs=1), out=tmp_path_factory.mktemp("complete") / "run", latest=False).folder


@pytest.fixture
def finished(complete: Path) -> RunFolder:
    """A copy of that run, as `run` in the working folder."""
    return RunFolder(shutil.copytree(complete, "run"))


def _options(data: Path, **changes: Any) -> TrainOptions:
    return TrainOptions(**{"data": str(data), "arch": "small", "epochs": 4, "precision": "float32", **changes})


def _history(folder: Path) -> list[dict[str, str]]:
    with RunFolder(folder).history.open(newline="") as handle:
        return list(csv.DictReader(handle))


class Stop(TrainListener):
    """Raises after an epoch, as a kill would strike: nothing after it runs."""

    def __init__(self, after: int, step: int = 0) -> None:
        self.after, self.at_step = after, step

    def step(self, epoch: int, step: int, loss: float) -> None:  # noqa: ARG002
        if (epoch, step) == (self.after + 1, self.at_step):
            raise KeyboardInterrupt


def test_a_run_leaves_its_folder(squares: Path) -> None:
    result = train(_options(squares, test_split=0.1), out="runs/one")
    folder = RunFolder(result.folder)
    names = {path.name for path in folder.path.iterdir()} - {".lock"}
    assert names == {
        "run.json",
        "history.csv",
        "metrics.json",
        "model.keras",
        "checkpoint.npz",
        "curves.png",
        "predictions.png",
    }
    assert Path("runs/latest").resolve() == folder.path.resolve()
    info = folder.read_info()
    assert info["status"] == "complete"
    assert info["data"]["splits"] == {"train": 33, "val": 10, "test": 5}
    assert [int(row["epoch"]) for row in _history(result.folder)] == [1, 2, 3, 4]
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["val"]["images"] == 10
    assert metrics["test"]["images"] == 5
    best = max(float(row["val_foreground_mean_iou"]) for row in _history(result.folder))
    assert metrics["val"]["foreground_mean_iou"] == pytest.approx(best, abs=1e-6)


def test_the_saved_model_takes_raw_pixels_in_float32(squares: Path) -> None:
    result = train(_options(squares, precision="bfloat16", epochs=1), out="run")
    model = keras.saving.load_model(RunFolder(result.folder).model)
    assert model.input.dtype == "uint8"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_the_same_seed_gives_the_same_run(squares: Path) -> None:
    first, second = (train(_options(squares, epochs=2), out=name).folder for name in ("a", "b"))
    other = train(_options(squares, epochs=2, seed=1), out="c").folder
    losses = [[row["loss"] for row in _history(folder)] for folder in (first, second, other)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("step", [1, 2])
def test_a_stopped_run_goes_on_to_the_same_end(squares: Path, step: int) -> None:
    whole = train(_options(squares), out="whole").folder
    with pytest.raises(KeyboardInterrupt):
        train(_options(squares), out="stopped", listener=Stop(1, step))
    with pytest.raises(KeyboardInterrupt):
        resume("stopped", listener=Stop(2, step))
    result = resume("stopped")
    ours, theirs = _history(result.folder), _history(whole)
    assert [row["epoch"] for row in ours] == ["1", "2", "3", "4"]
    assert [row["learning_rate"] for row in ours] == [row["learning_rate"] for row in theirs]
    np.testing.assert_allclose([float(row["loss"]) for row in ours], [float(row["loss"]) for row in theirs], rtol=1e-4)


def test_a_run_killed_in_its_first_epoch_starts_over(squares: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(_options(squares, epochs=2), out="run", listener=Stop(0, 2))
    assert [row["epoch"] for row in _history(resume("run").folder)] == ["1", "2"]


def test_each_epoch_is_given_its_own_batches(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []
    make = TrainingBatches.__getitem__

    def noting(self: TrainingBatches, index: int) -> Any:
        shown.append((self.epoch, index))
        return make(self, index)

    monkeypatch.setattr(TrainingBatches, "__getitem__", noting)
    train(_options(squares, epochs=3), out="run")
    # Before the first epoch, Keras looks at a few. An epoch ends with an estimate from the batches of the next one.
    assert shown[-18:] == [(epoch + at_end, index) for epoch in (0, 1, 2) for at_end in (0, 1) for index in (0, 1, 2)]


def test_resuming_a_complete_run_changes_no_weight(finished: RunFolder) -> None:
    before = keras.saving.load_model(finished.model).get_weights()
    assert resume("run").epochs == 1
    for ours, theirs in zip(keras.saving.load_model(finished.model).get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("given", [{"epochs": 9}, {"seed": 1}, {"size": (16, 16)}])
def test_resume_refuses_other_options(finished: RunFolder, given: Mapping[str, Any]) -> None:
    with pytest.raises(TrainingError, match=rf"was started with {next(iter(given))} = .*--resume was given"):
        resume("run", expected=given)


def test_resume_refuses_other_data(squares: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    with np.load(squares) as stored:
        images, labels = stored["images"].copy(), stored["labels"]
        np.savez(copy, images=images, labels=labels)
        train(_options(copy, epochs=1), out="run")
        images[0, 0, 0] += 1
        np.savez(copy, images=images, labels=labels)
    with pytest.raises(TrainingError, match="differ from those that run was started with"):
        resume("run")


def test_resume_without_a_run_says_how_to_start_one() -> None:
    with pytest.raises(TrainingError, match="no run to resume at runs/latest; start one with `segtool train`"):
        resume()
    Path("other").mkdir()
    with pytest.raises(ModelFileError, match="other is not a run folder"):
        resume("other")


def test_two_trainings_in_one_folder_are_refused(finished: RunFolder) -> None:
    with finished.lock(), pytest.raises(TrainingError, match="Another process is training in run"):
        resume("run")


def test_an_output_that_exists_is_left_alone(squares: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("keep me")
    with pytest.raises(OutputExistsError, match="mine already exists and is not overwritten"):
        train(_options(squares), out="mine")
    assert Path("mine/notes.txt").read_text() == "keep me"


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=np.zeros((1, 8, 8), np.uint8), labels=np.eye(8, dtype=np.uint8)[None])
    with pytest.raises(DataError, match="With 1 image the fractions"):
        train(_options(tmp_path / "one.npz"), out="run")


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"batch_size": 0}, {"val_split": 0}, {"val_split": 0.5, "test_split": 0.5}]
)
def test_options_out_of_range_are_refused(squares: Path, changes: Mapping[str, Any]) -> None:
    with pytest.raises(TrainingError, match="found"):
        _options(squares, **changes)


def test_a_checkpoint_holds_weights_and_optimizer(tmp_path: Path) -> None:
    def compiled(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        model = build_small(8, 8, 1, 2)
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    images, labels = np.full((4, 8, 8, 1), 9, np.uint8), np.ones((4, 8, 8), np.int32)
    first, second = compiled(0), compiled(1)
    first.train_on_batch(images, labels)
    save_checkpoint(tmp_path / "c.npz", first, Progress([{"epoch": 1}], 1, 0.5))
    assert load_checkpoint(tmp_path / "c.npz", second) == Progress([{"epoch": 1}], 1, 0.5)
    assert int(second.optimizer.iterations) == 1
    assert second.train_on_batch(images, labels) == pytest.approx(first.train_on_batch(images, labels), rel=1e-5)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    model = build_small(8, 8, 1, 2)
    model.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_checkpoint(tmp_path / "c.npz", model)


def test_a_loss_that_is_no_number_stops_the_run(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*shape: int) -> keras.Model:
        model = build_small(*shape)
        return keras.Model(model.input, keras.layers.Rescaling(float("nan"))(model.output))

    monkeypatch.setitem(architectures.ARCHITECTURES, "small", broken)
    with pytest.raises(
        TrainingError, match=r"The loss became nan in epoch 1, by step [1-8], expected a finite number;"
    ):
        train(_options(squares), out="run")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_at_runs_is_left_alone(squares: Path, kind: str) -> None:
    if kind == "file":
        Path("runs").write_text("mine")
    else:
        Path("runs/latest").mkdir(parents=True)
    with pytest.raises(OutputWriteError, match="could not be linked to run"):
        train(_options(squares), out="run")
    assert Path("runs").exists()


def test_unfinished_files_of_a_kill_are_removed(finished: RunFolder) -> None:
    Path("run/.segtool-abc.npz").write_bytes(b"half")
    resume("run")
    assert not Path("run/.segtool-abc.npz").exists()


def test_a_best_model_that_a_kill_prevented_is_made_by_the_resume(finished: RunFolder) -> None:
    """A kill after the checkpoint and before model.keras: the resume writes it from the checkpoint."""
    expected = keras.saving.load_model(finished.model).get_weights()
    finished.model.unlink()
    resume("run")
    for ours, theirs in zip(keras.saving.load_model(finished.model).get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("file", ["parts.npz", "m2nist-synthetic.npz"])  # not the generator, whatever its name
def test_shares_that_would_be_ignored_are_refused(squares: Path, file: str) -> None:
    with np.load(squares) as stored:
        np.savez(file, **stored)
    names = [{"name": name} for name in ("nothing", "bright", "dim")]
    Path("dataset.json").write_text(json.dumps({"classes": names, "splits": {"train": [0, 30], "val": [30, 48]}}))
    with pytest.raises(DataError, match="has its own splits"):
        train(_options(Path(file), val_split=0.3), out="run")
    Path("dataset.json").write_text(json.dumps({"classes": names, "splits": {"train": [0, 30], "val": [20, 48]}}))
    with pytest.raises(DataError, match=r"train \[0, 30\] and val \[20, 48\] of splits in .* share 10 images"):
        train(_options(Path(file)), out="run")


def test_a_run_of_another_recipe_is_not_resumed(finished: RunFolder) -> None:
    info = finished.read_info()
    finished.write_info({**info, "recipe_values": {**info["recipe_values"], "augment": "shift:99"}})
    with pytest.raises(TrainingError, match="differs from the one that run was started with"):
        resume("run")
