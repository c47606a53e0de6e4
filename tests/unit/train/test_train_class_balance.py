"""Warnings about classes that the training part does not show, and the common size of images of many sizes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtool.data.loading import load_dataset
from segtool.train.class_balance import warn_of_rare_classes


def _folder(root: Path, sizes: list[tuple[int, int]]) -> str:
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number, size in enumerate(sizes):
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray((np.indices(size).sum(0) % 2).astype(np.uint8)).save(root / "masks" / f"{number}.png")
    (root / "dataset.json").write_text(json.dumps({"classes": ["sky", "road", "car"]}))
    return str(root)


def test_an_absent_class_that_is_scored_is_named_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_dataset(_folder(tmp_path / "set", [(8, 8)] * 4))
    counts, validation = np.array([[9, 9, 0]] * 5), np.array([[9, 0, 1], [9, 0, 2]])
    with caplog.at_level(logging.WARNING):
        warn_of_rare_classes(data, counts, validation=validation)
    assert "No training image shows car (2 validation images with it):" in caplog.text
    assert "everywhere" not in caplog.text


def test_a_single_class_in_the_training_part_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_dataset(_folder(tmp_path / "set", [(8, 8)] * 4))
    with caplog.at_level(logging.WARNING):
        warn_of_rare_classes(data, np.array([[0, 9, 0]] * 5), validation=np.array([[0, 9, 0]]))
    assert "No training image shows sky, car:" in caplog.text
    assert "predict road everywhere" in caplog.text
