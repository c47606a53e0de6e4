"""An evaluation never scores what the model was trained on, unless it is told to."""

from pathlib import Path

import numpy as np
import pytest
from tiny_nets import tiny_data

from segtool.data.dataset import split
from segtool.data.loading import load_dataset
from segtool.report.evaluate import EvaluateOptions, evaluate

MODEL = Path(__file__).parents[1] / "golden" / "tiny_v1.onnx"  # trained on tiny_data(), split by seed 3, 0.25 held out


@pytest.fixture
def data(tmp_path: Path) -> str:
    images, labels = tiny_data()
    path = tmp_path / "data.npz"
    np.savez(path, images=images[..., 0], labels=labels)
    return str(path)


def test_the_training_data_are_split_as_in_the_training(data: str, tmp_path: Path) -> None:
    result = evaluate(MODEL, options=EvaluateOptions(data=data, per_image=tmp_path / "each.csv"))
    held_out = split(load_dataset(data), val_fraction=0.25, seed=3).val
    assert (result.split, result.scores.images) == ("val", 12)
    scored = [line.split(",")[0] for line in (tmp_path / "each.csv").read_text().splitlines()[1:]]
    assert scored == [load_dataset(data).sample_names[index] for index in held_out]


def test_other_data_are_scored_whole(tmp_path: Path) -> None:
    images, labels = tiny_data(seed=9)
    np.savez(tmp_path / "other.npz", images=images[..., 0], labels=labels)
    result = evaluate(MODEL, options=EvaluateOptions(data=str(tmp_path / "other.npz")))
    assert (result.split, result.scores.images) == ("all", 48)
