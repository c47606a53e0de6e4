"""Crops: windows of the images, the same after a resume; a run on crops is scored, exported and run by tiles."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from road_scenes import CLASSES, write_scenes
from tiny_nets import build_small

import segtool
from segtool.data.classes import Classes
from segtool.data.loading import load_dataset
from segtool.errors import DataError, TrainingError
from segtool.evaluate.evaluate import EvaluateOptions, evaluate
from segtool.export import ExportOptions, export_model
from segtool.images.arrays import count_labels
from segtool.train import architectures
from segtool.train.class_balance import warn_of_rare_classes
from segtool.train.crops import CropBatches, CropRule, count_crops, draw_start
from segtool.train.options import TrainOptions
from segtool.train.trainer import train
from segtool.train.validation import ValidationSet, predict_labels


def _images(*sizes: tuple[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images whose channels are y, x and the image's number; labels are y + x + number in 0..4."""
    images, labels = [], []
    for number, size in enumerate(sizes):
        y, x = np.indices(size)
        images.append(np.stack([y, x, np.full(size, number)], -1).astype(np.uint8))
        labels.append(((y + x + number) % 5).astype(np.uint8))
    return images, labels


def _all(batches: CropBatches) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True)]


def test_an_epoch_has_as_many_crops_as_fit_and_each_is_a_window_of_its_image() -> None:
    images, labels = _images((20, 30), (12, 12), (31, 10))
    batches = CropBatches(images, labels, rule=CropRule((8, 10), 5), batch_size=4)
    crops, ids, weights = _all(batches)
    counts = count_crops([one.shape for one in labels], (8, 10))
    assert np.bincount(crops[:, 0, 0, 2]).tolist() == [8, 2, 4] == counts.tolist()
    assert len(batches) == 4
    for crop, label in zip(crops, ids, strict=True):
        top, left, number = crop[0, 0].tolist()
        np.testing.assert_array_equal(crop, images[number][top : top + 8, left : left + 10])
        np.testing.assert_array_equal(label, labels[number][top : top + 8, left : left + 10])
    assert (weights == 1).all()


def test_a_few_large_images_do_not_fill_an_epoch() -> None:
    crop, small, large = (256, 320), (300, 400), (3000, 4000)
    assert count_crops([small] * 9 + [large], crop).tolist() == [1] * 9 + [4]
    assert count_crops([large] * 3 + [small], crop).tolist() == [146] * 3 + [1]


def test_crops_are_the_same_after_a_resume_and_others_in_the_next_epoch() -> None:
    images, labels = _images((40, 40), (30, 50))
    rule = CropRule((8, 8), 5, rare_share=0.5)
    whole = CropBatches(images, labels, rule=rule, batch_size=5, seed=3)
    whole.on_epoch_end()
    resumed = CropBatches(images, labels, rule=rule, batch_size=5, seed=3)
    resumed.start_epoch(1)
    for ours, theirs in zip(_all(whole), _all(resumed), strict=True):
        np.testing.assert_array_equal(ours, theirs)

    def places(batches: CropBatches) -> set[tuple[int, ...]]:
        """Where the crops of a single image lie, whatever their order."""
        return {tuple(crop[0, 0]) for crop in _all(batches)[0]}

    one, other = (CropBatches(images[:1], labels[:1], rule=rule, batch_size=5, seed=seed) for seed in (3, 4))
    before = places(one)
    assert before != places(other)
    one.on_epoch_end()
    assert before != places(one)


def test_crops_lie_anywhere_and_hold_what_they_are_drawn_around() -> None:
    rng = np.random.default_rng(0)
    assert {draw_start(11, 8, None, rng) for _ in range(200)} == {0, 1, 2, 3}
    assert {draw_start(5, 8, None, rng) for _ in range(9)} == {0}
    assert {draw_start(30, 8, 29, rng) for _ in range(99)} == {22}
    assert {draw_start(30, 8, 10, rng) for _ in range(400)} == set(range(3, 11))
    assert {draw_start(5, 8, 4, rng) for _ in range(9)} == {0}


def test_rare_classes_are_shown_more_often_where_asked() -> None:
    image, label = np.zeros((64, 64, 1), np.uint8), np.zeros((64, 64), np.uint8)
    label[40:42, 50:52] = 1
    label[0] = 9
    shares = {}
    for share in (0.0, 0.5, 1.0):
        rule = CropRule((8, 8), 3, rare_share=share)
        batches = CropBatches([image] * 8, [label] * 8, rule=rule, ignore_id=9, batch_size=64)
        ids = _all(batches)[1]
        shares[share] = float((ids == 1).any((1, 2)).mean())
    assert shares[0.0] < 0.1
    assert 0.15 < shares[0.5] < 0.4
    assert 0.4 < shares[1.0] < 0.65
    nothing = CropBatches([image], [np.full_like(label, 9)], rule=rule, ignore_id=9, batch_size=4)
    assert not nothing[0][2].any()


@pytest.mark.parametrize(("classes", "ignore_id"), [(5, None), (5, 4), (256, None)])
def test_what_is_made_up_beyond_a_small_image_does_not_count(classes: int, ignore_id: int | None) -> None:
    images, labels = _images((6, 20))
    batches = CropBatches(images, labels, rule=CropRule((10, 8), classes), batch_size=9, ignore_id=ignore_id)
    crops, ids, weights = _all(batches)
    np.testing.assert_array_equal(crops[:, 6:], np.repeat(crops[:, 5:6], 4, axis=1))
    assert not weights[:, 6:].any()
    truth = (crops[:, :6].sum(-1, dtype=int)) % 5
    np.testing.assert_array_equal(weights[:, :6], truth != ignore_id)
    assert (ids[:, :6] == truth)[weights[:, :6] > 0].all()


def test_the_last_of_256_classes_counts_beside_what_is_made_up() -> None:
    image, label = np.zeros((6, 20, 3), np.uint8), np.full((6, 20), 255, np.uint8)
    batches = CropBatches([image], [label], rule=CropRule((10, 8), 256), batch_size=9)
    _, ids, weights = batches[0]
    assert weights[:, :6].all()
    assert not weights[:, 6:].any()
    assert (ids[:, :6] == 255).all()


def _pixelwise() -> keras.Model:
    """A network that sees single pixels: tiles of it are exactly the whole."""
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 10, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 8)(image)
    return keras.Model(image, keras.layers.Softmax()(keras.layers.Conv2D(5, 1)(x)))


def test_scores_by_tiles_are_those_of_whole_images() -> None:
    images, labels = _images((8, 10), (20, 31), (5, 7), (6, 25))
    labels[1][3:5] = 255
    model = _pixelwise()
    found, loss = ValidationSet(images, labels, Classes(tuple("abcde"), ignore_id=255)).score(model)
    kernel, bias = (np.asarray(weight) for weight in model.get_weights())
    expected, losses = np.zeros((5, 5), int), []
    for image, label in zip(images, labels, strict=True):
        scores = image / 8 @ kernel[0, 0] + bias
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        np.testing.assert_array_equal(predict_labels(model, image), shares.argmax(-1))
        counted = label != 255
        np.add.at(expected, (label[counted], shares.argmax(-1)[counted]), 1)
        losses.append(-np.log(np.take_along_axis(shares, np.where(counted, label, 0)[..., None], -1))[..., 0][counted])
    np.testing.assert_array_equal(found.matrix, expected)
    assert loss == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few small road scenes of two sizes, in the arrangement of SegNet's CamVid; one is smaller than a crop."""
    monkeypatch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scenes"
    write_scenes(folder, counts=(8, 2, 2), size=(48, 64), layout="annot")
    write_scenes(tmp_path / "more", counts=(2, 1, 0), size=(40, 30), layout="annot")
    for path in (tmp_path / "more").rglob("*.png"):
        path.rename(folder / path.relative_to(tmp_path / "more").with_stem(f"more{path.stem}"))
    return folder


def _options(data: Path, **changes: Any) -> TrainOptions:
    wanted = {"data": str(data), "arch": "small", "epochs": 2, "precision": "float32", "crop": (32, 40), **changes}
    return TrainOptions(**wanted)


def test_a_run_on_crops_is_exported_and_scored_by_tiles(scenes: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = train(_options(scenes, rare_crops=0.5), out="run")
    assert "3 of 15 images are smaller than the crops of 32 x 40" in caplog.text
    info = json.loads((result.folder / "run.json").read_text())
    assert (info["data"]["height"], info["data"]["width"], info["data"]["size_policy"]) == (32, 40, "tile")
    assert (result.folder / "predictions.png").stat().st_size > 0
    with (result.folder / "history.csv").open(newline="") as handle:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(handle)]
    assert rates[0] > rates[1] == 0  # the schedule ends with the last crop
    assert "No training image shows" in caplog.text

    exported = export_model(result.folder, options=ExportOptions(quantize=True, max_drop=100, waive=("speed",)))
    assert exported.contract.size_policy == exported.int8_contract.size_policy == "tile"
    assert exported.int8_contract.quantization["images"] > 8
    trained = result.metrics["val"]
    assert exported.contract.metrics["float32"]["pixel_accuracy"] == pytest.approx(trained["pixel_accuracy"], abs=1e-3)
    scored = {name: evaluate(result.folder / name, options=EvaluateOptions()) for name in ("model.keras", "model.onnx")}
    assert scored["model.keras"].scores.pixel_accuracy == trained["pixel_accuracy"]
    assert scored["model.onnx"].scores.pixel_accuracy == exported.contract.metrics["float32"]["pixel_accuracy"]

    data = load_dataset(str(scenes))
    image = data.image(int(data.splits["val"][0]))
    segmenter = segtool.load(exported.float32, provider="cpu")
    model = keras.saving.load_model(result.folder / "model.keras")
    assert (segmenter(image) == predict_labels(model, image)).mean() > 0.999
    assert segmenter.golden().images.nbytes <= 1 << 17


def test_a_policy_that_is_asked_for_overrules_the_run(scenes: Path) -> None:
    run = train(_options(scenes, epochs=1), out="run").folder
    assert export_model(run, options=ExportOptions(size_policy="resize")).contract.size_policy == "resize"


def test_crops_that_no_image_holds_are_refused(scenes: Path) -> None:
    with pytest.raises(DataError, match=r"Crops of 50 x 20 .*the largest is 48 x 64\); choose a smaller --crop"):
        train(_options(scenes, crop=(50, 20)), out="run")
    assert not Path("run").exists()


@pytest.mark.parametrize("changes", [{"size": (32, 32)}, {"rare_crops": 1.5}])
def test_options_that_exclude_each_other(changes: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="crop"):
        TrainOptions(**{"crop": (8, 8), **changes})


def test_rare_crops_of_whole_images_are_refused(scenes: Path) -> None:
    with pytest.raises(TrainingError, match=r"crops around rare classes .* add --crop HxW"):
        train(_options(scenes, crop=None, rare_crops=0.5), out="run")
    assert not Path("run").exists()


def test_classes_that_are_absent_or_rare_are_named(scenes: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_dataset(str(scenes))
    labels = [np.full((100, 100), 255, np.uint8) for _ in range(9)]
    for label in labels:
        label[: len(CLASSES)] = np.arange(len(CLASSES))[:, None]
        label[len(CLASSES) :] = 0
        label[CLASSES.index("bicyclist")] = 0
        label[CLASSES.index("sign"), 5:] = 0
    for label in labels[2:]:
        label[CLASSES.index("car")] = 0
    with caplog.at_level(logging.WARNING):
        warn_of_rare_classes(data, np.array([count_labels(label, len(CLASSES)) for label in labels]))
    assert "No training image shows bicyclist:" in caplog.text
    assert "Rare classes in the 9 training images: sign (0.050% in 9 images), car (0.222% in 2 images);" in caplog.text
    caplog.clear()
    warn_of_rare_classes(data, np.ones((3, 11), int))
    assert not caplog.records
