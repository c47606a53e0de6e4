"""Writing a generated data set, and describing one."""

import json

import numpy as np
import pytest
from PIL import Image

from segtool.data import arrays
from segtool.data.array_dataset import ArrayDataset
from segtool.data.classes import Classes
from segtool.data.generator import generate
from segtool.data.info import dataset_facts
from segtool.data.loading import load_dataset
from segtool.data.make import make_m2nist, write_samples
from segtool.errors import OutputExistsError, OutputWriteError


@pytest.mark.parametrize("onehot", [True, False])
def test_what_is_written_is_what_was_generated(tmp_path, monkeypatch, onehot):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64 * 84 * 11 * 7)
    make_m2nist(tmp_path / "data", count=30, seed=3, onehot=onehot)
    expected = generate(30, seed=3)
    images, labels = np.load(tmp_path / "data" / "combined.npy"), np.load(tmp_path / "data" / "segmented.npy")
    assert (images.shape, images.dtype) == ((30, 64, 84), np.uint8)
    assert (labels.shape, labels.dtype) == ((30, 64, 84, 11) if onehot else (30, 64, 84), np.uint8)
    found = load_dataset(str(tmp_path / "data"))
    assert found.fingerprint() == expected.fingerprint()
    assert found.provenance["seed"] == 3
    assert {name: part.tolist() for name, part in found.splits.items()} == {
        "train": list(range(24)), "val": list(range(24, 30))
    }  # fmt: skip


def test_nothing_is_overwritten_unasked(tmp_path):
    make_m2nist(tmp_path, count=5, seed=0)
    before = (tmp_path / "combined.npy").read_bytes()
    with pytest.raises(OutputExistsError):
        make_m2nist(tmp_path, count=5, seed=1)
    assert (tmp_path / "combined.npy").read_bytes() == before
    make_m2nist(tmp_path, count=5, seed=1, overwrite=True)
    assert (tmp_path / "combined.npy").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["combined.npy", "dataset.json", "segmented.npy"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputWriteError):
        make_m2nist(tmp_path / "file" / "data", count=2, seed=0)


def test_samples_as_png(tmp_path):
    data = generate(10, seed=0)
    paths = write_samples(data, np.array([7, 2]), tmp_path / "images")
    assert [path.name for path in paths] == ["image_00007.png", "image_00002.png"]
    np.testing.assert_array_equal(np.array(Image.open(paths[0])), data.image(7)[..., 0])
    with pytest.raises(OutputExistsError):
        write_samples(data, np.array([3, 2]), tmp_path / "images")
    assert not (tmp_path / "images" / "image_00003.png").exists()


def test_the_facts_of_a_data_set():
    labels = np.array([[[0, 0, 1, 255]], [[0, 0, 0, 0]]], np.uint8)
    classes = Classes(("a", "b", "c"), background_id=None, ignore_id=255)
    facts = dataset_facts(
        ArrayDataset(np.zeros((2, 1, 4, 1), np.uint8), labels, classes=classes, splits={"train": [0]})
    )
    assert [(item["pixel_share"], item["images"]) for item in facts["classes"]] == [(6 / 7, 2), (1 / 7, 1), (0.0, 0)]
    assert (facts["images"], facts["size"], facts["ignored_pixel_share"]) == (2, "1 x 4", 1 / 8)
    assert (facts["splits"], facts["background"], facts["licence"]) == ({"train": 1}, None, None)
    assert json.loads(json.dumps(facts)) == facts
