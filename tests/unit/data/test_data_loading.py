"""Data sets in .npy and .npz files, and how a SPEC is recognised."""

import json
from pathlib import Path

import numpy as np
import pytest

from segtool.data.loading import load_dataset
from segtool.errors import DataError

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
DIGITS = tuple("0123456789")


@pytest.fixture
def m2nist():
    rng = np.random.default_rng(0)
    labels = np.full((6, 64, 84), 10, np.uint8)
    for index in range(6):
        labels[index, 4:20, 4:20] = index
    return np.where(labels < 10, rng.integers(1, 256, labels.shape), 0).astype(np.uint8), labels


def write_m2nist(folder, images, labels):
    np.save(folder / "combined.npy", images)
    np.save(folder / "segmented.npy", labels)
    return str(folder)


def onehot(labels, dtype):
    return (labels[..., None] == np.arange(11)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("coded", [True, False])
def test_m2nist_in_every_layout(tmp_path, m2nist, dtype, coded):
    images, labels = m2nist
    spec = write_m2nist(tmp_path, images.astype(dtype), onehot(labels, dtype) if coded else labels.astype(dtype))
    data = load_dataset(spec)
    assert (data.class_names, data.background_id, data.ignore_id) == ((*DIGITS, "background"), 10, None)
    found_images, found_labels = data.arrays(range(6))
    np.testing.assert_array_equal(found_images[..., 0], images)
    np.testing.assert_array_equal(found_labels, labels)
    assert found_labels.dtype == np.uint8


def test_the_same_pixels_have_one_fingerprint(tmp_path, m2nist):
    images, labels = m2nist
    np.savez(tmp_path / "ids.npz", images=images, labels=labels)
    np.savez(tmp_path / "onehot.npz", images=images[..., None], labels=onehot(labels, np.int64))
    folder = load_dataset(write_m2nist(tmp_path, images, labels))
    prints = {load_dataset(str(tmp_path / f"{name}.npz")).fingerprint() for name in ("ids", "onehot")}
    assert prints == {folder.fingerprint()}


def test_an_id_beyond_m2nist_is_refused(tmp_path, m2nist):
    images, labels = m2nist
    labels[3, 0, 0] = 11
    with pytest.raises(DataError, match=r"holds the ids \[11\], expected 0..10"):
        load_dataset(write_m2nist(tmp_path, images, labels))


@pytest.mark.parametrize("missing", ["combined.npy", "segmented.npy"])
def test_half_of_m2nist_is_refused(tmp_path, m2nist, missing):
    spec = write_m2nist(tmp_path, *m2nist)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=f"{missing} does not exist"):
        load_dataset(spec)


def save(path, labels, images=None, **more):
    images = np.zeros(labels.shape, np.uint8) if images is None else images
    np.savez(path, images=images, labels=labels, **more)
    return str(path)


def test_an_npz_without_names(tmp_path):
    data = load_dataset(save(tmp_path / "a.npz", np.arange(12).reshape(1, 3, 4) % 4))
    assert data.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert (data.background_id, data.name) == (0, "a")


def test_an_npz_whose_ids_leave_one_out(tmp_path):
    data = load_dataset(save(tmp_path / "a.npz", np.array([[[0, 1, 3]]])))
    assert data.num_classes == 4


def test_an_npz_of_binary_masks(tmp_path):
    data = load_dataset(save(tmp_path / "a.npz", np.array([[[0, 255, 0]]], np.uint8)))
    assert data.class_names == ("background", "foreground")
    assert data.label(0).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("values", [[0, 2, 255], [0, 0, 0], [3, 3, 3], [-1, 0, 1], [0, 1, 200]])
def test_an_npz_whose_values_need_a_description(tmp_path, values):
    with pytest.raises(DataError, match=r"write a dataset\.json"):
        load_dataset(save(tmp_path / "a.npz", np.array([[values]])))


@pytest.mark.parametrize("name", ["a.json", "dataset.json"])
def test_an_npz_that_is_described(tmp_path, name):
    description = {
        "classes": [{"name": "sky", "value": 7}, {"name": "road", "value": 9}],
        "background": "road",
        "ignore_id": -1,
        "splits": {"train": [0, 1], "val": [1, 2]},
        "provenance": {"licence": "CC0"},
    }
    (tmp_path / name).write_text(json.dumps(description))
    data = load_dataset(save(tmp_path / "a.npz", np.array([[[7, 9, -1]], [[9, 9, 9]]])))
    assert (data.class_names, data.background_id, data.ignore_id) == (("sky", "road"), 1, 255)
    assert data.label(0).tolist() == [[0, 1, 255]]
    assert {part: indices.tolist() for part, indices in data.splits.items()} == {"train": [0], "val": [1]}
    assert data.provenance == {"licence": "CC0"}


def test_an_npz_that_names_its_classes(tmp_path):
    names = np.array(["road", "background"])
    data = load_dataset(save(tmp_path / "a.npz", np.array([[[0, 1]]]), class_names=names))
    assert (data.class_names, data.background_id) == (("road", "background"), 1)
    with pytest.raises(DataError, match="expected a list of strings"):
        load_dataset(save(tmp_path / "b.npz", np.array([[[0, 1]]]), class_names=np.zeros(2)))


def test_described_ids_out_of_range_are_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"classes": ["a", "b"]}')
    with pytest.raises(DataError, match=r"image 1 .*holds the value 2, expected only the values 0, 1"):
        load_dataset(save(tmp_path / "a.npz", np.array([[[0, 1]], [[2, 0]]])))


def test_float_images_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"float64 with values 0\.25\.\.0\.25, expected uint8"):
        load_dataset(save(tmp_path / "a.npz", np.zeros((2, 3, 4), np.uint8), images=np.full((2, 3, 4), 0.25)))


def test_specs_that_are_no_data_set(tmp_path):
    with pytest.raises(DataError, match="nowhere' does not exist, expected a folder with"):
        load_dataset(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="'' does not exist"):
        load_dataset("")
    with pytest.raises(DataError, match="has nothing in it, expected"):
        load_dataset(str(tmp_path))
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match=r"has only readme.txt, expected"):
        load_dataset(str(tmp_path))
    with pytest.raises(DataError, match=r"is a \.txt file, expected"):
        load_dataset(str(tmp_path / "readme.txt"))


@pytest.mark.parametrize("count", ["", "0", "x", "-1", "1.5"])
def test_the_generator_wants_a_number(count):
    with pytest.raises(DataError, match="expected a whole number above 0"):
        load_dataset(f"m2nist-synthetic:{count}")


@pytest.mark.skipif(not (SHARED / "m2nist").is_dir(), reason="the shared M2NIST is not beside this checkout")
def test_the_real_m2nist():
    data = load_dataset(str(SHARED / "m2nist" / "m2nist_4000.npz"))
    assert (len(data), data.image_size, data.channels) == (4000, (64, 84), 1)
    assert (data.class_names, data.background_id) == ((*DIGITS, "background"), 10)
    images, labels = data.arrays(range(4000))
    # Both facts are of shared/README.md.
    assert np.array_equal(images[..., 0] > 0, labels != 10)
    assert np.mean(labels == 10) == pytest.approx(0.9425, abs=5e-4)


def test_an_npz_with_255_beside_its_ids_ignores_it(tmp_path):
    data = load_dataset(save(tmp_path / "a.npz", np.array([[[0, 1, 255]]])))
    assert (data.class_names, data.ignore_id) == (("class 0", "class 1"), 255)
    assert data.label(0).tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((9, 6, 8), "10 images and 9 label maps"), ((10, 6, 9), "6 x 8 and its label maps 6 x 9")],
)
def test_labels_that_do_not_fit_the_images_are_refused(tmp_path, shape, sentence):
    images = np.zeros((10, 6, 8), np.uint8)
    with pytest.raises(DataError, match=sentence):
        load_dataset(save(tmp_path / "a.npz", np.arange(np.prod(shape)).reshape(shape) % 3, images=images))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_the_first_label_map_with_a_wrong_id_is_named(tmp_path, dtype):
    (tmp_path / "dataset.json").write_text('{"classes": ["a", "b", "c"], "ignore_id": 255}')
    labels = np.full((10, 6, 8), 255, dtype)
    assert load_dataset(save(tmp_path / "a.npz", labels)).label(0).dtype == np.uint8
    labels[7, 2, 2] = 77
    with pytest.raises(DataError, match=r"label map of image 7 .*the value 77, expected only the values 0, 1, 2, 255"):
        load_dataset(save(tmp_path / "b.npz", labels))
