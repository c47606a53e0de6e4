"""What a model sees of a data set in calibration and gates, and the size of its golden pair."""

from __future__ import annotations

import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_contract

from segtool.data.array_dataset import ArrayDataset
from segtool.data.classes import Classes
from segtool.data.split import split
from segtool.export.data import ExportData, model_inputs, open_data
from segtool.export.options import ExportOptions
from segtool.export.stamp import MAX_BYTES, golden_images


def _data(count: int, size: tuple[int, int], *, channels: int = 3) -> ArrayDataset:
    """Images of noise; the first channel is the image's number."""
    images = np.random.default_rng(0).integers(0, 256, (count, *size, channels), dtype=np.uint8)
    images[..., 0] = np.arange(count, dtype=np.uint8)[:, None, None]
    return ArrayDataset(images, np.zeros((count, *size), np.uint8), classes=Classes(("a", "b")))


def _contract(policy: str, height: int = 64, width: int = 84):
    return tiny_contract(size_policy=policy, height=height, width=width, channels=3)


@pytest.mark.parametrize(
    ("count", "expected"), [(3, [1, 1, 0, 1, 0]), (5, [1] * 5), (12, [2, 2, 3, 2, 3]), (99, [9] * 5)]
)
def test_tiles_are_windows_spread_over_the_images(count: int, expected: list[int]) -> None:
    data = _data(5, (150, 200))
    tiles = list(model_inputs(data, np.arange(5), count, _contract("tile")))
    assert np.bincount([tile[0, 0, 0] for tile in tiles], minlength=5).tolist() == expected
    assert len({tile.tobytes() for tile in tiles}) == len(tiles)
    places = set()
    for tile in tiles:
        image = data.image(int(tile[0, 0, 0]))
        corners = np.argwhere((image[:-63, :-83] == tile[0, 0]).all(-1))
        (place,) = [(y, x) for y, x in corners.tolist() if (image[y : y + 64, x : x + 84] == tile).all()]
        places.add(place)
    assert len(places) >= min(count, 8)


def test_resized_images_where_the_contract_says_so() -> None:
    data = _data(5, (150, 200))
    found = list(model_inputs(data, np.array([3, 1]), 9, _contract("resize")))
    np.testing.assert_array_equal(np.stack(found), data.images([3, 1], size=(64, 84)))


def test_images_of_the_models_size_are_taken_whole_by_either_policy() -> None:
    data = _data(3, (64, 84))
    for policy in ("tile", "resize"):
        np.testing.assert_array_equal(
            np.stack(list(model_inputs(data, np.arange(3), 9, _contract(policy)))), data.images(np.arange(3))
        )


def test_calibration_takes_as_many_tiles_as_asked_for() -> None:
    data = _data(10, (150, 200))
    batches = list(ExportData(data, split(data, seed=0)).calibration(50, _contract("tile")))
    assert sum(len(batch) for batch in batches) == 50
    assert {int(number) for batch in batches for number in batch[:, 0, 0, 0]} == set(split(data, seed=0).train)


def test_small_golden_images_are_real_ones() -> None:
    data = ExportData(_data(8, (64, 84)), split(_data(8, (64, 84)), val_fraction=0.75, seed=0))
    golden = golden_images(data, _contract("resize"))
    assert golden.shape == (4, 64, 84, 3)
    np.testing.assert_array_equal(golden, data.real_images(4, _contract("resize")))


def test_fewer_golden_images_where_they_are_larger() -> None:
    data = _data(8, (128, 168))
    assert golden_images(ExportData(data, split(data, seed=0)), _contract("resize", 128, 168)).shape == (2, 128, 168, 3)


def test_large_golden_images_do_not_outweigh_the_network() -> None:
    data = _data(4, (360, 480))
    golden = golden_images(ExportData(data, split(data, seed=0)), _contract("resize", 360, 480))
    assert golden.shape == (1, 360, 480, 3)
    assert len(zlib.compress(golden.tobytes(), 9)) < MAX_BYTES * 1.2
    assert len(np.unique(golden[0].reshape(-1, 3), axis=0)) > 10_000


@pytest.mark.parametrize(("size", "count"), [((64, 84), 256), ((360, 480), 97), ((1024, 2048), 32)])
def test_fewer_images_are_calibrated_on_where_they_are_large(size: tuple[int, int], count: int) -> None:
    assert ExportOptions().images_to_calibrate(size) == count
    assert ExportOptions(calibration_images=500).images_to_calibrate(size) == 500


@pytest.mark.parametrize(("parts", "says"), [(("",), "split "), (("train", "val"), "use the parts of ")])
def test_data_of_an_unknown_training_are_said_to_be_split_only_where_they_are(
    parts: tuple[str, ...], says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part, kind in product(parts, ("images", "masks")):
        folder = tmp_path / part / kind
        folder.mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.full((8, 8), number % 2, np.uint8)).save(folder / f"{part}{number}.png")
    (tmp_path / "dataset.json").write_text('{"classes": ["a", "b"]}', encoding="utf-8")
    open_data(None, str(tmp_path))
    assert f"calibration and gates {says}{tmp_path}" in caplog.text
    assert ("by seed 0" in caplog.text) == (says == "split ")
