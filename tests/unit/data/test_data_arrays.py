"""Opening and converting arrays: what is accepted, what is refused and how, and in how much memory."""

import logging
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from segtool.data import arrays
from segtool.data.array_files import open_npz
from segtool.data.arrays import blocks, distinct_values, onehot_to_ids, to_integer_labels, to_uint8_images
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.images.npy import open_npy


def onehot_of(ids, classes, dtype=np.uint8):
    return (ids[..., None] == np.arange(classes)).astype(dtype)


@pytest.fixture
def ids():
    return np.random.default_rng(0).integers(0, 11, (7, 6, 5)).astype(np.uint8)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_blocks_cover_every_row_once(monkeypatch, rows):
    array = np.zeros((7, 4), np.uint8)
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 4 * rows)
    covered = [index for part in blocks(array) for index in range(part.start, part.stop)]
    assert covered == list(range(7))
    assert max(part.stop - part.start for part in blocks(array)) == min(rows, 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int8, np.uint16, bool])
@pytest.mark.parametrize("block_bytes", [1, 700, 10**9])
def test_onehot_gives_ids_whatever_the_type_and_the_block(monkeypatch, ids, dtype, block_bytes):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", block_bytes)
    found = to_integer_labels(onehot_of(ids, 11, dtype), source="test")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, ids)


def test_onehot_of_many_classes_needs_wider_ids():
    ids = np.array([[[0, 299]]])
    found = onehot_to_ids(onehot_of(ids, 300), source="test")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, ids)


def test_int64_onehot_file_is_converted_in_bounded_memory(tmp_path, monkeypatch):
    ids = np.random.default_rng(1).integers(0, 11, (60, 64, 84)).astype(np.uint8)
    np.save(tmp_path / "segmented.npy", onehot_of(ids, 11, np.int64))
    size = (tmp_path / "segmented.npy").stat().st_size
    monkeypatch.setattr(arrays, "BLOCK_BYTES", size // 30)
    tracemalloc.start()
    try:
        found = to_integer_labels(open_npy(tmp_path / "segmented.npy"), source="test")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, ids)
    assert peak < size / 8


PEAK_OF_A_CONVERSION = """
import sys
from pathlib import Path
from segtool.data import arrays
from segtool.images.npy import open_npy

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

arrays.BLOCK_BYTES = 2**20
before = peak()
arrays.to_integer_labels(open_npy(Path(sys.argv[1])), source="test")
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc")
def test_a_mapped_file_does_not_pile_up_in_the_process(tmp_path):
    ids = np.zeros((120, 64, 84), np.uint8)
    np.save(tmp_path / "segmented.npy", onehot_of(ids, 11, np.int64))
    size = (tmp_path / "segmented.npy").stat().st_size
    command = [sys.executable, "-c", PEAK_OF_A_CONVERSION, str(tmp_path / "segmented.npy")]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert grown < size / 4


def test_pixels_of_two_classes_are_settled_with_a_warning(ids, caplog):
    big = np.zeros((1, 64, 84), np.uint8)
    onehot = onehot_of(big, 3)
    onehot[0, 5, 6] = [0, 1, 1]
    with caplog.at_level(logging.WARNING):
        found = onehot_to_ids(onehot, source="overlap")
    assert found[0, 5, 6] == 1
    assert "1 pixel with several classes" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda a: a.__setitem__((3, 2, 1), 0), "image 3 has pixels of no class"),
        (lambda a: a.__setitem__((3, 2, 1, 0), 2), "values 0..2"),
        (lambda a: a.__setitem__((3, 2, 1, 0), -1), "values -1..1"),
        (lambda a: a.__setitem__((slice(0, 4), ..., slice(0, 2)), 1), "several classes at once"),
    ],
)
def test_what_is_not_onehot_is_refused(ids, spoil, sentence):
    onehot = onehot_of(ids, 11, np.int64)
    spoil(onehot)
    with pytest.raises(DataError, match=sentence):
        onehot_to_ids(onehot, source="spoiled")


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16])
def test_images_become_uint8_with_a_channel_axis(shape, dtype):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    found = to_uint8_images(images, source="test")
    assert found.dtype == np.uint8
    assert found.shape == (3, 4, 5, 3 if shape[-1] == 3 else 1)
    np.testing.assert_array_equal(found.reshape(-1), images.reshape(-1))


def test_uint8_images_stay_memory_mapped(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 4, 5), np.uint8))
    mapped = open_npy(tmp_path / "images.npy")
    assert np.shares_memory(to_uint8_images(mapped, source="test"), mapped)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.full((2, 4, 5), 0.5, np.float32), "float32 with values 0.5..0.5, expected uint8"),
        (np.zeros((0, 4, 5), np.uint8), "at least one image"),
        (np.zeros((4, 5), np.uint8), "expected \\(N, H, W\\)"),
        (np.zeros((2, 4, 5, 4), np.uint8), "expected \\(N, H, W\\)"),
        (np.full((2, 4, 5), 256, np.int64), "values 256..256, expected uint8 pixels 0..255"),
        (np.full((2, 4, 5), -1, np.int64), "values -1..-1, expected uint8 pixels 0..255"),
        (np.full((2, 4, 5), None, object), "Python objects"),
        (np.full((2, 4, 5), "x"), "expected a numeric array"),
    ],
)
def test_images_that_are_refused(images, sentence):
    with pytest.raises(DataError, match=sentence):
        to_uint8_images(images, source="test")


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.zeros((2, 4, 5), np.float32), "float32, expected integer class ids"),
        (np.zeros((4, 5), np.uint8), "expected \\(N, H, W\\) class ids"),
        (np.full((2, 4, 5), None, object), "Python objects"),
    ],
)
def test_labels_that_are_refused(labels, sentence):
    with pytest.raises(DataError, match=sentence):
        to_integer_labels(labels, source="test")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16])
def test_distinct_values_over_blocks(monkeypatch, dtype):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 1)
    assert distinct_values(np.array([[3], [1], [3], [250]], dtype)).tolist() == [1, 3, 250]


def damaged(tmp_path, how):
    path = tmp_path / "file.npy"
    np.save(path, np.zeros((40, 8, 8), np.uint8))
    data = path.read_bytes()
    content = {
        "empty": b"", "text": b"hello, world", "truncated": data[:-100], "header": data[:40],
        "header bytes": data[:10] + b"{{{{{{" + data[16:],
    }  # fmt: skip
    path.write_bytes(content[how])
    return path


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "header", "header bytes"])
def test_a_damaged_npy_is_one_sentence(tmp_path, how):
    with pytest.raises(DataError, match=r"file\.npy (is empty|cannot be read)") as caught:
        open_npy(damaged(tmp_path, how))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["empty", "text", "truncated", "header"])
def test_a_damaged_npz_is_one_sentence(tmp_path, how):
    path = tmp_path / "file.npz"
    np.savez_compressed(path, images=np.arange(30000, dtype=np.uint16), labels=np.zeros(3))
    data = path.read_bytes()
    middle = len(data) // 3
    corrupt = {"empty": b"", "text": b"nothing", "truncated": data[:-50]}
    path.write_bytes(corrupt.get(how, data[:middle] + bytes(200) + data[middle + 200 :]))
    with pytest.raises(DataError, match=r"file\.npz (is empty|cannot be read)"):
        open_npz(path, ("images", "labels"))


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.save(tmp_path / "bomb.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "bomb.npz", images=np.array([Bomb()], object), labels=np.zeros(1))
    with pytest.raises(DataError, match="never unpickled"):
        open_npy(tmp_path / "bomb.npy")
    with pytest.raises(DataError, match="never unpickled"):
        open_npz(tmp_path / "bomb.npz", ("images", "labels"))


def test_missing_keys_and_confused_suffixes(tmp_path):
    np.savez(tmp_path / "keys.npz", image=np.zeros(1))
    with pytest.raises(DataError, match=r"has the arrays \['image'\] but lacks \['images', 'labels'\]"):
        open_npz(tmp_path / "keys.npz", ("images", "labels"))
    (tmp_path / "keys.npz").rename(tmp_path / "keys.npy")
    with pytest.raises(DataError, match=r"is an \.npz archive, expected a \.npy array"):
        open_npy(tmp_path / "keys.npy")
    with (tmp_path / "single.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(DataError, match=r"is a single \.npy array, expected an \.npz"):
        open_npz(tmp_path / "single.npz", ("images",))
    with pytest.raises(DataError, match="does not exist"):
        open_npy(tmp_path / "nowhere.npy")


def test_values_of_a_photograph_are_no_class_ids(tmp_path, caplog):
    """Labels with gaps are ids of which some do not occur, where they are few; a channel of a photograph is not."""
    values = np.random.default_rng(0).integers(27, 226, (4, 32, 32)).astype(np.uint8)
    np.savez(tmp_path / "soft.npz", images=values, labels=values)
    with pytest.raises(DataError, match="look like photographs"):
        load_dataset(str(tmp_path / "soft.npz"))
    np.savez(tmp_path / "gap.npz", images=values, labels=np.array([0, 1, 3], np.uint8)[values % 3])
    assert load_dataset(str(tmp_path / "gap.npz")).num_classes == 4
    assert "hold 3 of the ids 0..3" in caplog.text
