"""Finding everything that is wrong, without stopping at the first."""

import json
from collections import Counter

import numpy as np
import pytest
from saving import save

from segtool.data.check import check_dataset
from segtool.errors import DataError


def write_samples(folder, count, start=0):
    for index in range(start, start + count):
        save(folder / "images" / f"{index}.png", np.full((4, 6), index))
        save(folder / "masks" / f"{index}.png", np.arange(24).reshape(4, 6) % 3)


@pytest.fixture
def folder(tmp_path):
    write_samples(tmp_path, 8)
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    return tmp_path


def found(report):
    return Counter((problem.kind, problem.sample) for problem in report.problems)


def test_nothing_wrong(folder):
    calls = []
    report = check_dataset(str(folder), progress=lambda *call: calls.append(call))
    assert report.ok
    assert (report.images, report.classes.names) == (8, ("a", "b", "c"))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_everything_wrong_at_once(folder):
    (folder / "masks" / "0.png").unlink()
    save(folder / "masks" / "1.png", np.zeros((5, 6)))
    save(folder / "masks" / "2.png", np.full((4, 6), 9))
    (folder / "masks" / "3.png").write_bytes(b"")
    (folder / "images" / "4.png").write_bytes(b"broken")
    save(folder / "images" / "6.png", np.full((4, 6), 5))
    (folder / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c", "d"]}))
    report = check_dataset(str(folder))
    assert found(report) == Counter(
        [("missing", "0"), ("size", "1.png"), ("values", "2.png"), ("unreadable", "3.png"), ("unreadable", "4.png"),
         ("duplicate", "6.png")]
    )  # fmt: skip
    as_dict = report.to_dict()
    assert as_dict["counts"]["unreadable"] == 2
    assert json.loads(json.dumps(as_dict))["problems"][0]["sample"] == "0"


def test_equal_faults_of_masks_are_one_problem_and_their_files_are_named(tmp_path):
    write_samples(tmp_path, 5)
    for index in range(5):
        (tmp_path / "masks" / f"{index}.png").rename(tmp_path / "masks" / f"{index}_L.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["a", "b"]}))
    save(tmp_path / "masks" / "4_L.png", np.full((4, 6), 9))
    shared, single = check_dataset(str(tmp_path)).problems
    assert shared.samples == ("0.png", "1.png", "2.png", "3.png")
    start = (
        f"4 masks ({tmp_path / 'masks' / '0_L.png'}, 1_L.png, 2_L.png, ...) hold the value 2, expected only the values"
    )
    assert shared.message.startswith(start)
    assert single.message.startswith(f"The mask {tmp_path / 'masks' / '4_L.png'} holds the value 9, expected")
    for index in range(5):
        save(tmp_path / "masks" / f"{index}_L.png", np.arange(24).reshape(4, 6) + 3 * index)
    (many,) = check_dataset(str(tmp_path)).problems
    assert "hold more values than there are classes, such as the values 2, 3, 4" in many.message


def test_colour_masks_without_colours_are_one_problem(tmp_path):
    write_samples(tmp_path, 3)
    for index in range(3):
        save(tmp_path / "masks" / f"{index}.png", np.arange(72).reshape(4, 6, 3))
    (problem,) = check_dataset(str(tmp_path)).problems
    assert "0.png is in colour ([0, 1, 2], " in problem.message
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": ["a", "b"]}))
    (problem,) = check_dataset(str(tmp_path)).problems
    assert "2.png) are in colour ([0, 1, 2], " in problem.message


def test_classes_are_called_absent_only_where_all_masks_were_read(folder):
    (folder / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c", "d"]}))
    assert found(check_dataset(str(folder))) == Counter([("class", "d")])
    (folder / "masks" / "3.png").write_bytes(b"")
    assert found(check_dataset(str(folder))) == Counter([("unreadable", "3.png")])


def test_absent_classes_are_one_problem_for_each_cause(tmp_path):
    for part in ("train", "val"):
        write_samples(tmp_path / part, 2, start=2 * (part == "val"))
    save(tmp_path / "val" / "masks" / "2.png", np.arange(24).reshape(4, 6) % 4)
    names = [f"c{index}" for index in range(400)]
    (tmp_path / "dataset.json").write_text(json.dumps({"classes": names}))
    not_learned, nowhere = check_dataset(str(tmp_path)).problems
    assert not_learned.message.startswith("Class 3 ('c3') occurs in no readable label map of the training part of ")
    assert nowhere.message.startswith("396 classes ('c4', 'c5', ")
    assert nowhere.samples == tuple(names[4:])
    assert len(nowhere.message) < 400


def test_masks_of_which_none_can_be_read_are_each_named(folder):
    (folder / "dataset.json").unlink()
    for index in range(8):
        (folder / "masks" / f"{index}.png").write_bytes(b"broken")
    report = check_dataset(str(folder))
    assert {problem.kind for problem in report.problems} == {"unreadable"}
    assert not any("segtool data check" in problem.message for problem in report.problems)


def test_a_folder_without_description_goes_by_the_readable_masks(folder):
    (folder / "dataset.json").unlink()
    (folder / "masks" / "3.png").write_bytes(b"broken")
    report = check_dataset(str(folder))
    assert found(report) == Counter([("unreadable", "3.png")])
    assert report.classes.names == ("class 0", "class 1", "class 2")
    save(folder / "masks" / "2.png", np.full((4, 6), 9))
    report = check_dataset(str(folder))
    assert found(report) == Counter([("values", str(folder)), ("unreadable", "3.png")])


def test_duplicates_count_across_parts_only(tmp_path):
    write_samples(tmp_path / "train", 3)
    write_samples(tmp_path / "val", 2, start=2)
    save(tmp_path / "train" / "images" / "1.png", np.full((4, 6), 0))
    report = check_dataset(str(tmp_path))
    assert found(report) == Counter([("duplicate", "val/2.png")])
    assert "same pixels as train/2.png of train, but is in val" in report.problems[0].message


def write_npz(path, images, labels):
    np.savez(path, images=images, labels=labels)
    return str(path)


def test_arrays_are_checked_row_by_row(tmp_path):
    (tmp_path / "dataset.json").write_text(
        json.dumps({"classes": ["a", "b"], "splits": {"train": [0, 2], "val": [2, 4]}})
    )
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    images[3] = images[0]
    labels = np.array([[[0, 1, 0]] * 2] * 4)
    labels[1, 0, 0] = 7
    labels[2, 0, 0] = -3
    report = check_dataset(write_npz(tmp_path / "a.npz", images, labels))
    assert found(report) == Counter(
        [("values", "image_00001"), ("values", "image_00002"), ("duplicate", "image_00003")]
    )


def test_arrays_of_other_lengths_and_sizes(tmp_path):
    report = check_dataset(
        write_npz(tmp_path / "a.npz", np.arange(24, dtype=np.uint8).reshape(4, 2, 3), np.array([[[0, 1]]] * 3))
    )
    assert [problem.kind for problem in report.problems] == ["size", "missing"]


def test_arrays_that_cannot_be_used_at_all(tmp_path):
    report = check_dataset(write_npz(tmp_path / "a.npz", np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.uint8)))
    assert found(report) == Counter([("arrays", str(tmp_path / "a.npz"))])
    (tmp_path / "combined.npy").write_bytes(b"broken")
    assert found(check_dataset(str(tmp_path))) == Counter([("arrays", str(tmp_path))])


def test_the_generator_is_clean():
    assert check_dataset("m2nist-synthetic:100").ok


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        check_dataset(str(tmp_path / "nowhere"))
