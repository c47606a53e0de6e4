"""Array data sets, their fingerprint and their splits."""

import numpy as np
import pytest

from segtool.data.array_dataset import ArrayDataset
from segtool.data.classes import Classes
from segtool.data.split import Split, split
from segtool.errors import DataError

CLASSES = Classes(("sky", "road", "car"), background_id=0, ignore_id=255)


def make(count=10, size=(6, 8), *, labels=None, splits=None, classes=CLASSES):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *size, 1)).astype(np.uint8)
    found = rng.integers(0, 3, (count, *size)).astype(np.uint8) if labels is None else labels
    return ArrayDataset(images, found, classes=classes, splits=splits)


def test_a_sample_is_what_was_put_in():
    data = make()
    assert len(data) == 10
    assert (data.image(3).shape, data.image(3).dtype, data.label(3).shape) == ((6, 8, 1), np.uint8, (6, 8))
    assert (data.image_size, data.channels, data.num_classes) == ((6, 8), 1, 3)
    images, labels = data.arrays([3, 1])
    np.testing.assert_array_equal(images[1], data.image(1))
    np.testing.assert_array_equal(labels[0], data.label(3))


def test_arrays_at_another_size_keep_ids_ids():
    images, labels = make().arrays([0, 1], size=(12, 16))
    assert (images.shape, labels.shape) == ((2, 12, 16, 1), (2, 12, 16))
    np.testing.assert_array_equal(labels[:, ::2, ::2], make().arrays([0, 1])[1])


def test_no_indices_at_another_size_is_refused():
    with pytest.raises(DataError, match="expected one at least"):
        make().arrays([], size=(12, 16))


@pytest.mark.parametrize(
    "arguments",
    [
        {"names": ("one",)},
        {"names": ("a", "a")},
        {"names": ("a", "b"), "background_id": 2},
        {"names": ("a", "b"), "ignore_id": 1},
        {"names": ("a", "b"), "ignore_id": 70000},
    ],
)
def test_classes_that_contradict_themselves(arguments):
    with pytest.raises(DataError):
        Classes(**arguments)


def test_the_fingerprint_is_of_the_content():
    assert make().fingerprint() == make().fingerprint()
    assert make(count=9).fingerprint() != make().fingerprint()
    renamed = make(classes=Classes(("sky", "road", "bus"), background_id=0, ignore_id=255))
    assert renamed.fingerprint() != make().fingerprint()
    labels = make().arrays(range(10))[1].copy()
    labels[9, 5, 7] = 255
    assert make(labels=labels).fingerprint() != make().fingerprint()


@pytest.mark.parametrize(
    ("count", "val", "test", "sizes"),
    [(10, 0.2, 0.0, (8, 2, 0)), (10, 0.2, 0.2, (6, 2, 2)), (10, 0.9, 0.0, (1, 9, 0)), (7, 0.2, 0.0, (5, 2, 0)),
     (10, 0.0, 0.0, (10, 0, 0)), (10, 0.0, 0.3, (7, 0, 3)), (2, 0.2, 0.0, (1, 1, 0))],
)  # fmt: skip
def test_split_sizes(count, val, test, sizes):
    found = split(make(count), val_fraction=val, test_fraction=test, seed=0)
    assert tuple(len(part) for part in (found.train, found.val, found.test)) == sizes
    assert sorted(np.concatenate([found.train, found.val, found.test]).tolist()) == list(range(count))


def test_the_permutation_is_numpys_pcg64():
    expected = np.random.Generator(np.random.PCG64(5)).permutation(10)
    found = split(make(), val_fraction=0.2, seed=5)
    np.testing.assert_array_equal(np.concatenate([found.train, found.val]), expected)
    assert split(make(), seed=6).train.tolist() != found.train.tolist()


@pytest.mark.parametrize(("val", "test"), [(1.0, 0.0), (-0.1, 0.0), (0.5, 0.5), (float("nan"), 0.0), (0.0, 1.5)])
def test_shares_that_are_refused(val, test):
    with pytest.raises(DataError, match="expected each in"):
        split(make(), val_fraction=val, test_fraction=test, seed=0)


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match="leave none for training"):
        split(make(1), val_fraction=0.5, seed=0)


def test_predefined_parts_are_used_as_they_are():
    data = make(splits={"train": [5, 0, 1], "val": [2, 3]})
    found = split(data, val_fraction=0.4, seed=1)
    assert (found.train.tolist(), found.val.tolist(), found.test.tolist()) == ([5, 0, 1], [2, 3], [])


def test_a_missing_part_is_drawn_from_training():
    data = make(splits={"train": [0, 1, 2, 3, 4], "test": [8, 9]})
    found = split(data, val_fraction=0.4, seed=1)
    assert found.test.tolist() == [8, 9]
    assert sorted([*found.train, *found.val]) == [0, 1, 2, 3, 4]
    assert len(found.val) == 2


def test_training_is_what_the_other_parts_leave():
    found = split(make(splits={"val": [2, 3]}), seed=1)
    assert found.val.tolist() == [2, 3]
    assert sorted(found.train.tolist()) == [0, 1, 4, 5, 6, 7, 8, 9]


def test_parts_by_name():
    parts = Split(np.array([3, 1]), np.array([0]), np.array([], np.intp))
    assert parts.named("train").tolist() == [3, 1]
    assert parts.named("all").tolist() == [0, 1, 3]
    for name in ("test", "training"):
        with pytest.raises(DataError, match="it has train, val, all"):
            parts.named(name)
