"""Samples in bounded memory: how often each file is decoded, and that the budget changes nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from road_scenes import write_scenes
from tiny_nets import build_small

from segtool.data.folder import FolderDataset
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.images.arrays import count_labels
from segtool.train import architectures, crops, sample_store
from segtool.train.batches import TrainingBatches
from segtool.train.callbacks import TrainListener
from segtool.train.crops import CropBatches, CropRule
from segtool.train.options import TrainOptions
from segtool.train.recent_arrays import RecentArrays
from segtool.train.sample_store import SampleStore
from segtool.train.trainer import train

SIZE = (48, 64)
BYTES = SIZE[0] * SIZE[1] * 3


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often the image and the mask of each index were decoded."""
    found: Counter[tuple[str, int]] = Counter()
    image, label = FolderDataset.image, FolderDataset.label

    def counting_image(self: FolderDataset, index: int) -> np.ndarray:
        found["image", index] += 1
        return image(self, index)

    def counting_label(self: FolderDataset, index: int) -> np.ndarray:
        found["label", index] += 1
        return label(self, index)

    monkeypatch.setattr(FolderDataset, "image", counting_image)
    monkeypatch.setattr(FolderDataset, "label", counting_label)
    return found


@pytest.fixture
def data(tmp_path: Path) -> FolderDataset:
    write_scenes(tmp_path / "scenes", counts=(8, 2, 2), size=SIZE, layout="annot")
    found = load_dataset(str(tmp_path / "scenes"))
    assert isinstance(found, FolderDataset)
    return found


def _kept(data: FolderDataset) -> np.ndarray:
    return np.concatenate([data.splits["train"], data.splits["val"]])


def test_each_file_is_decoded_once_where_all_fit(data: FolderDataset, decoded: Counter[tuple[str, int]]) -> None:
    kept = _kept(data)
    store = SampleStore(data, kept, budget=2**30)
    store.read()
    assert len(decoded) == 24
    data.fingerprint()
    for _ in range(3):
        for index in kept.tolist():
            store.image(index), store.label(index)
    store.counts(kept)
    assert set(decoded.values()) == {1}


@pytest.mark.parametrize("size", [None, (24, 32)])
def test_the_budget_changes_no_sample(data: FolderDataset, size: tuple[int, int] | None) -> None:
    kept = _kept(data)
    expected = load_dataset(data.spec)
    images, labels = expected.arrays(kept, size=size)
    for budget in (2**30, 5 * BYTES, 1):
        store = SampleStore(data, kept, size=size, budget=budget)
        store.read()
        np.testing.assert_array_equal(np.stack(list(store.images(kept))), images)
        np.testing.assert_array_equal(np.stack(list(store.labels(kept))), labels)
        assert store.labels(kept)[0].dtype == labels.dtype
        assert data.fingerprint() == expected.fingerprint()
        np.testing.assert_array_equal(store.counts(kept), [count_labels(one, data.num_classes) for one in labels])
        assert store.size(0) == (size or SIZE)


def test_what_does_not_fit_is_decoded_once_in_an_epoch(data: FolderDataset, decoded: Counter[tuple[str, int]]) -> None:
    kept = _kept(data)
    store = SampleStore(data, kept, budget=8 * BYTES)  # of 10 images and their labels
    store.read()
    batches = TrainingBatches(store.images(kept), store.labels(kept), batch_size=4)
    for epoch in (1, 2, 3):
        batches.start_epoch(epoch)
        for index in range(len(batches)):
            batches[index]
        again = [decoded["image", index] - 1 for index in kept.tolist()]
        assert 0 < np.count_nonzero(again) < len(kept)
        assert max(again) <= epoch
    assert {decoded["label", index] for index in kept.tolist()} == {1}  # kept compressed
    assert {decoded["image", index] for index in data.splits["test"].tolist()} == {1}


def test_the_crops_of_an_image_follow_each_other_in_a_large_data_set(
    data: FolderDataset, decoded: Counter[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "GROUP_PIXELS", 2 * SIZE[0] * SIZE[1])
    kept = _kept(data)
    found = []
    for budget in (2**30, 10 * BYTES):
        decoded.clear()
        store = SampleStore(data, kept, budget=budget)
        store.read()
        sizes = [store.size(index) for index in kept.tolist()]
        batches = CropBatches(
            store.images(kept), store.labels(kept), rule=CropRule((16, 16), 11, 0.5), batch_size=4, sizes=sizes
        )
        found.append([batches[index] for index in range(len(batches))])
        assert len(batches) == 10 * 12 / 4
    assert max(decoded.values()) == 2  # in the first pass and in the epoch, for 12 crops
    assert sum(decoded.values()) > 24
    for ours, theirs in zip(*found, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_groups_of_images_differ_between_epochs_and_hold_all_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "GROUP_PIXELS", 3 * 32 * 32)
    images = [np.full((32, 32, 1), number, np.uint8) for number in range(12)]
    batches = CropBatches(images, [image[..., 0] for image in images], rule=CropRule((8, 8), 12), batch_size=16)
    seen = []
    for epoch in range(2):
        batches.start_epoch(epoch)
        owners = np.concatenate([batches[index][0][:, 0, 0, 0] for index in range(len(batches))])
        assert np.bincount(owners).tolist() == [16] * 12
        assert max(len(set(owners[start : start + 16].tolist())) for start in range(0, len(owners), 16)) <= 8
        assert any(len(set(owners[start : start + 16].tolist())) > 1 for start in range(0, len(owners), 16))
        seen.append(owners)
    assert not np.array_equal(*seen)


def test_arrays_are_not_copied(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=images[..., 0] // 128)
    data = load_dataset(str(tmp_path / "set.npz"))
    store = SampleStore(data, range(6), budget=1)
    store.read()
    assert np.shares_memory(store.image(3), data.image(3))
    assert np.shares_memory(store.label(3), data.label(3))
    assert store.counts([3]).sum() == 256
    resized = SampleStore(data, range(6), size=(8, 8), budget=2**20)
    resized.read()
    assert resized.image(3).shape == (8, 8, 1)
    assert resized.image(3) is resized.image(3)


def test_threads_share_one_decoding_and_an_error_is_not_kept() -> None:
    made: Counter[int] = Counter()

    def make(index: int) -> np.ndarray:
        made[index] += 1
        time.sleep(0.02)
        return np.full(8, index, np.uint8)

    recent = RecentArrays(16)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: recent.get(("image", 1), make), range(12)))
    assert made == {1: 1}
    assert {int(array[0]) for array in found} == {1}
    for index in (2, 1, 3, 1, 2):  # two fit: 3 takes the place of 2
        recent.get(("image", index), make)
    assert made == {1: 1, 2: 2, 3: 1}

    def fail(index: int) -> np.ndarray:
        raise DataError(f"{index} is damaged")

    with pytest.raises(DataError):
        recent.get(("label", 9), fail)
    assert recent.get(("label", 9), make)[0] == 9


def test_a_file_that_vanishes_during_the_training_is_named(data: FolderDataset) -> None:
    kept = _kept(data)
    store = SampleStore(data, kept, budget=1)
    store.read()
    lost = sorted(Path(data.spec, "train").glob("*.png"))[3]
    lost.unlink()
    with (
        pytest.raises(DataError, match=lost.name),
        TrainingBatches(store.images(kept), store.labels(kept), batch_size=10) as batches,
    ):
        try:
            batches[0]
        except DataError as error:
            raise ValueError("what a backend makes of it") from error


class _Lose(TrainListener):
    """Deletes a file after the first epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:  # noqa: ARG002 - of the base class
        self._path.unlink()


def test_a_run_whose_images_do_not_fit_ends_with_the_name_of_a_lost_file(
    tmp_path: Path, data: FolderDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(architectures, "ARCHITECTURES", {**architectures.ARCHITECTURES, "small": build_small})
    monkeypatch.setattr(sample_store, "available_memory", lambda: 3)
    lost = sorted(Path(data.spec, "train").glob("*.png"))[3]
    options = TrainOptions(
        data=data.spec, arch="small", epochs=2, precision="float32", crop=(32, 40), batch_size=4, device="cpu"
    )
    with pytest.raises(DataError, match=lost.name):
        train(options, out=tmp_path / "run", latest=False, listener=_Lose(lost))
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 2


def test_labels_of_more_than_256_classes_are_counted() -> None:
    label = np.array([[0, 300], [300, 65535]], np.uint16)
    counts = count_labels(label, 301)
    assert (counts[0], counts[300], counts.sum()) == (1, 2, 3)
    assert count_labels(np.array([[1, 1, 255]], np.uint8), 2).tolist() == [0, 2]
    assert count_labels(label[:0], 2).tolist() == [0, 0]
