"""Training on photographs: crops of a network for whole images, statistics of normalizations, resume."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from road_scenes import write_scenes
from tiny_nets import build_small

from segtool.errors import TrainingError
from segtool.models.keras_file import load_keras_file
from segtool.train import architectures, choices, epoch_end, recipes
from segtool.train.callbacks import TrainListener
from segtool.train.choices import STEP_BYTES, affordable_batch
from segtool.train.device import Cluster, Device
from segtool.train.options import TrainOptions
from segtool.train.recipes import resolve_recipe
from segtool.train.run_folder import RunFolder
from segtool.train.trainer import resume, train
from segtool.train.validation import ValidationSet


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
    small = replace(recipes.RECIPES["photos"], crop_pixels=32 * 32, batch_size=4, epochs=3)
    monkeypatch.setattr(recipes, "RECIPES", {**recipes.RECIPES, "photos": small})
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "scenes", counts=(6, 3, 0), size=(64, 96))
    return tmp_path / "scenes"


def _options(data: Path, **changes: Any) -> TrainOptions:
    return TrainOptions(**{"data": str(data), "arch": "small", "recipe": "photos", "precision": "float32", **changes})


def _history(folder: Path) -> list[dict[str, str]]:
    with RunFolder(folder).history.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_network_takes_whole_images_and_is_trained_on_crops(scenes: Path) -> None:
    result = train(_options(scenes, epochs=1), out="run")
    info = json.loads(Path("run/run.json").read_text())
    assert info["crop"] == [32, 32]
    assert (info["data"]["height"], info["data"]["width"], info["data"]["size_policy"]) == (64, 96, "resize")
    assert load_keras_file(Path("run/model.keras")).input_shape == (None, 64, 96, 3)
    assert 0 < result.metrics["val"]["pixel_accuracy"] <= 1


def test_the_saved_model_is_the_scored_one(scenes: Path) -> None:
    result = train(_options(scenes), out="run")
    best = _history(Path("run"))[result.best_epoch - 1]
    assert float(best["val_foreground_mean_iou"]) == pytest.approx(
        result.metrics["val"]["foreground_mean_iou"], abs=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({}, "misses them, less often with --rare-crops 0.5."),
        ({"recipe": "fast"}, "misses them, less often with --crop HxW --rare-crops 0.5."),
        ({"rare_crops": 0.5}, "misses them."),
    ],
)
def test_rare_classes_are_warned_of_with_the_options_that_this_recipe_takes(
    changes: dict[str, Any], remedy: str, scenes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Crops that a recipe takes itself need no --crop, which would make the network predict in tiles."""
    for path in sorted((scenes / "train" / "masks").iterdir())[2:]:
        mask = np.array(Image.open(path))
        mask[mask == 1] = 0
        Image.fromarray(mask).save(path)
    train(_options(scenes, epochs=1, **changes), out="run")
    assert remedy in caplog.text


def test_a_resumed_run_ends_as_one_without_a_stop(scenes: Path) -> None:
    class Stop(TrainListener):
        def epoch(self, row: Any, *, best: bool) -> None:  # noqa: ARG002
            raise KeyboardInterrupt

    train(_options(scenes), out="whole")
    with pytest.raises(KeyboardInterrupt):
        train(_options(scenes), out="run", listener=Stop())
    resume("run")
    for one, other in zip(_history(Path("whole")), _history(Path("run")), strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(other["val_loss"]), rel=1e-3)


def test_statistics_are_estimated_anew_where_moving_averages_lag(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three steps, moving averages with momentum 0.99 are still those of the start, so scores are of no use."""

    def loss(few_steps: int) -> float:
        monkeypatch.setattr(epoch_end, "FEW_STEPS", few_steps)
        train(_options(scenes, recipe="fast", epochs=3), out=f"run{few_steps}")
        return float(_history(Path(f"run{few_steps}"))[-1]["val_loss"])

    assert loss(200) != pytest.approx(loss(0), rel=0.01)


def test_classes_with_sides_are_not_mirrored() -> None:
    photos = TrainOptions(arch="fcn8-lite", recipe="photos")
    assert "flip-horizontal" in resolve_recipe(photos, ["road", "bright", "leftover"]).augment
    assert "flip-horizontal" not in resolve_recipe(photos, ["left_hand", "road"]).augment
    asked = TrainOptions(arch="fcn8-lite", recipe="photos", augment="flip-horizontal")
    assert resolve_recipe(asked, ["left_hand"]).augment == "flip-horizontal"


def test_training_scales_change_the_crops_and_not_their_size(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segtool.train import trainer

    rules = []
    make = trainer.CropRule

    def noting(*values: Any, **named: Any) -> Any:
        rules.append(make(*values, **named))
        return rules[-1]

    monkeypatch.setattr(trainer, "CropRule", noting)
    train(_options(scenes, epochs=1), out="run")
    train(_options(scenes, epochs=1, augment="none"), out="plain")
    np.testing.assert_allclose(rules[0].scales, (1 / 1.7, 1.7))
    assert rules[1].scales == (1.0, 1.0)


def test_coarse_scores_are_trained_and_are_not_part_of_the_network(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(height: int, width: int, channels: int, num_classes: int, **_: str) -> keras.Model:
        image = keras.Input((height, width, channels), dtype="uint8", name="image")
        x = keras.layers.Rescaling(1 / 255)(image)
        x = keras.layers.Conv2D(8, 3, strides=8, padding="same", activation="relu", name="middle")(x)
        x = keras.layers.Conv2DTranspose(num_classes, 8, strides=8)(x)
        return keras.Model(image, keras.layers.Softmax(dtype="float32")(x))

    monkeypatch.setitem(architectures.ARCHITECTURES, "small", build)
    monkeypatch.setitem(architectures.WITH_ENCODER, "small", ("middle", 8))
    for share in (0.0, 0.4):
        train(_options(scenes, epochs=1, auxiliary=share, weights="none"), out=f"run{share}")
    plain, supervised = (float(_history(Path(f"run{share}"))[0]["loss"]) for share in (0.0, 0.4))
    assert supervised > plain * 1.2  # the loss of the coarse scores is in it
    names = [layer.name for layer in load_keras_file(Path("run0.4/model.keras")).layers]
    assert not any(name.startswith("auxiliary") for name in names)


def test_an_auxiliary_loss_that_would_be_ignored_is_refused(scenes: Path) -> None:
    with pytest.raises(TrainingError, match=r"auxiliary loss .* only fcn8-lite"):
        train(_options(scenes, auxiliary=0.4), out="run")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("memory", "batch"),
    [(None, 8), (16e9, 8), (8 * 1000 * STEP_BYTES * 2, 8), (8 * 1000 * STEP_BYTES * 2 - 2, 4), (1, 1)],
)
def test_a_batch_is_halved_until_a_step_fits_into_half_of_the_memory(memory: float | None, batch: int) -> None:
    assert affordable_batch(8, 1000, None if memory is None else int(memory)) == batch


@pytest.mark.parametrize(
    ("device", "batch"),
    [(Device("cpu", "one"), 1), (Device("gpu", "one"), 8), (Device("cpu", "two", cluster=Cluster(2, 0)), 8)],
)
def test_only_a_training_alone_on_a_cpu_fits_its_batch_to_the_memory(
    monkeypatch: pytest.MonkeyPatch, device: Device, batch: int
) -> None:
    """The memory is not that of a GPU, and all workers split the same batch."""
    monkeypatch.setattr(choices, "available_memory", lambda: 1)
    recipe = replace(recipes.RECIPES["photos"], batch_size=8)
    options = TrainOptions(arch="fcn8-lite", recipe="photos")
    assert choices.with_affordable_batch(options, recipe, (64, 64), device)[0].batch_size == batch


def test_each_epoch_is_scored_on_whole_images(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of the size of a crop would see less of each image than the exported network does."""
    shapes: list[tuple[int | None, ...]] = []
    score = ValidationSet.score

    def noting(self: ValidationSet, model: keras.Model) -> Any:
        shapes.append(model.input_shape)
        return score(self, model)

    monkeypatch.setattr(ValidationSet, "score", noting)
    train(_options(scenes, epochs=1), out="run")
    assert set(shapes) == {(None, 64, 96, 3)}
