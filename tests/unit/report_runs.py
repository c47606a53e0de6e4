"""A run folder with two exported files, its history and its data, made on the spot for the tests of reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from tiny_models import expected_labels, tiny_contract, write_model

from segtool.contract import GoldenPair, default_palette
from segtool.data.loading import load_dataset
from segtool.files import sha256_of

HOSTILE = "<script>alert(1)</script>\"'&"
CLASSES = ("ground", HOSTILE, "\u202edlrow", "car")
SIZE = (24, 32)
SPLIT = {"seed": 3, "val_split": 0.25, "test_split": 0.0}
COLUMNS = (
    "epoch,loss,accuracy,val_loss,val_pixel_accuracy,val_foreground_mean_iou,val_foreground_mean_dice,"
    "learning_rate,seconds"
)


def write_data(path: Path, *, count: int = 48) -> Path:
    """Images of flat patches whose pixel value / 25 is their class, with some truths that no model can know."""
    random = np.random.default_rng(5)
    labels = np.zeros((count, *SIZE), np.uint8)
    for number, label in enumerate(labels):
        top, left = random.integers(0, 12), random.integers(0, 20)
        label[top : top + 10, left : left + 10] = 1 + number % 3
    images = (25 * labels + random.integers(0, 14, labels.shape)).astype(np.uint8)
    labels[::7, :3, :5] = 2  # truth that is not seen: missed by every model
    np.savez(path, images=images, labels=labels, class_names=np.array(CLASSES))
    return path


def write_pair(folder: Path, data: Path, *, golden: bool = True) -> None:
    """Write model.onnx and model.int8.onnx, which says that it was made from it and gives a few other labels."""
    dataset = load_dataset(str(data), **SPLIT)
    images = dataset.images([0, 1])
    labels = expected_labels(images, classes=len(CLASSES))
    common = {
        "height": SIZE[0],
        "width": SIZE[1],
        "class_names": CLASSES,
        "palette": default_palette(len(CLASSES), background_id=0),
        "background_id": 0,
        "data_fingerprint": dataset.fingerprint(),
        "split": SPLIT,
        "versions": {"segtool": "0.1.0"},
        "arguments": (str(folder), "--quantize"),
    }
    parity = {"max_difference": 1e-6, "label_agreement": 1.0, "images": 2, "single": 2}
    first = tiny_contract(**common, gates={"parity": parity})
    write_model(folder / "model.onnx", first, golden=GoldenPair(images, labels))
    quantization = {
        "preset": "x86",
        "method": "static QDQ, percentile, per channel",
        "images": 36,
        "layers": 2,
        "float_layers": ["score"],
        "float32_sha256": sha256_of(folder / "model.onnx"),
        "sensitivities": {HOSTILE: 0.02, "score": 0.31},
    }
    accuracy = {
        "drop_points": 0.1, "max_drop": 5.0, "float32": 0.9, "int8": 0.899, "images": 12, "label_agreement": 0.999,
    }  # fmt: skip
    gates = {"parity": parity, "accuracy": accuracy}
    second = tiny_contract(**common, gates=gates, precision="int8", quantization=quantization)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_models, "STEP", 24.5)
        labels = expected_labels(images, classes=len(CLASSES))
        write_model(
            folder / "model.int8.onnx", second, golden=GoldenPair(images, labels if golden else (labels + 1) % 4)
        )


def write_report_run(folder: Path, **changes: object) -> Path:
    """A finished run with exported files, as `segtool train` and `segtool export --quantize` leave it."""
    folder.mkdir(parents=True)
    data = write_data(folder.parent / "data.npz")
    dataset = load_dataset(str(data), **SPLIT)
    facts = {
        "spec": str(data),
        "fingerprint": dataset.fingerprint(),
        "class_names": list(CLASSES),
        "background_id": 0,
        "ignore_id": None,
        "splits": {"train": 36, "val": 12},
    }
    info = {
        "status": "complete", "arch": HOSTILE, "recipe": "standard", "epochs": 3, "batch_size": 8, "parameters": 1234,
        **SPLIT, "config": {"data": str(data), "recipe": "standard", **SPLIT}, "data": facts,
        "arguments": ["--seed", "3"], **changes,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(info))
    rows = ["1,1.5,0.7,1.2,0.8,0.2,0.3,0.001,9", "2,0.5,0.9,,,,,0.0009,8", "3,0.1,0.95,0.2,0.97,0.81,0.89,0.0001,8"]
    (folder / "history.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    write_pair(folder, data)
    return folder
