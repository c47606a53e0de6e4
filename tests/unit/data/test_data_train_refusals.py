"""What a training refuses of a data set, `data check` finds, in the same words."""

import json
from pathlib import Path

import numpy as np
import pytest
from saving import save

from segtool.data.check import check_dataset
from segtool.data.describe import propose, write_proposal
from segtool.data.headers import read_header
from segtool.data.loading import load_dataset
from segtool.errors import DataError
from segtool.train.options import TrainOptions
from segtool.train.plan import make_plan

CLASSES = {"classes": ["a", "b"]}


def write_arrays(folder, count=6, label=None, **description):
    images = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((1, 24, 24), np.uint8)
    labels = np.tile(np.eye(24, dtype=np.uint8), (count, 1, 1)) if label is None else np.full_like(images, label)
    np.savez(folder / "set.npz", images=images, labels=labels)
    (folder / "set.json").write_text(json.dumps({**CLASSES, **description}))
    return str(folder / "set.npz")


def write_folder(root, count=4, masks="masks", **options):
    for index in range(count):
        save(root / "images" / f"{index}.png", np.full((24, 24), index))
        save(root / masks / f"{index}.png", np.eye(24), **options)
    return str(root)


def refused(spec):
    """Return what `data check` finds, and what `train` says."""
    with pytest.raises(DataError) as caught:
        make_plan(TrainOptions(data=spec, augment="none"))
    return check_dataset(spec).problems, str(caught.value)


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"train": [0, 4], "val": [3, 6]}, r"train [0, 4] and val [3, 6] of splits in {file} share 1 image"),
        ({"train": [0, 4], "val": [4, 9]}, r"'val' of splits in {file} is [4, 9], and there are 6 images"),
        ({"train": [0, 4], "val": [-2, 6]}, "{file}: The part 'val' of \"splits\" is [-2, 6]"),
        ({"train": [4, 0], "val": [4, 6]}, "{file}: The part 'train' of \"splits\" is [4, 0], expected ranges"),
        ({"train": [0, 4], "valid": [4, 6]}, '{file}: "splits" has the part "valid", expected train, val or test'),
        ({"train": [0, 4], "val": [4, 10**18]}, "{file}: The part 'val' of \"splits\" is [4, 10000"),
        ({"val": [0, 6]}, "There is no train part in"),
    ],
)
def test_parts_that_are_refused_are_found_and_their_file_is_named(tmp_path, splits, says):
    spec = write_arrays(tmp_path, splits=splits)
    (problem,), sentence = refused(spec)
    assert problem.message == sentence
    assert says.format(file=tmp_path / "set.json") in sentence


def test_a_folder_without_a_train_part(tmp_path):
    write_folder(tmp_path / "val")
    (problem,), sentence = refused(str(tmp_path))
    assert problem.message == sentence
    assert f"There is no train part in {tmp_path}, only val (4 images)" in sentence


def test_a_set_of_one_image(tmp_path):
    (problem,), sentence = refused(write_folder(tmp_path, count=1))
    assert problem.message == sentence
    assert sentence.startswith("With 1 image the fractions 0.2 (validation)")


def test_what_other_parts_leave_is_the_train_part(tmp_path):
    spec = write_arrays(tmp_path, splits={"val": [0, 2]})
    assert check_dataset(spec).ok
    assert len(make_plan(TrainOptions(data=spec, augment="none")).split.train) == 4


def test_a_description_that_the_arrays_deny(tmp_path):
    (problem,), sentence = refused(write_arrays(tmp_path, channels=3))
    assert problem.message == sentence
    assert "says that the images have 3 channels, and they have 1" in sentence


def test_splits_of_a_folder_are_refused(tmp_path):
    spec = write_folder(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({**CLASSES, "splits": {"train": [0, 2], "val": [2, 4]}}))
    (problem,), sentence = refused(spec)
    assert problem.message == sentence
    assert "has splits, which number the images of arrays, and this is a folder" in sentence


def test_data_without_a_labelled_pixel(tmp_path):
    (problem,), sentence = refused(write_arrays(tmp_path, label=255, ignore_id=255))
    assert problem.kind == "unlabelled"
    assert problem.message == f"No pixel of {tmp_path / 'set.npz'} has a class, {sentence.split('has a class, ')[1]}"


def test_a_part_without_a_labelled_pixel(tmp_path):
    write_folder(tmp_path / "train")
    for index in range(2):
        save(tmp_path / "val" / "images" / f"{index}.png", np.full((24, 24), 9 + index))
        save(tmp_path / "val" / "masks" / f"{index}.png", np.full((24, 24), 255))
    (tmp_path / "dataset.json").write_text(json.dumps({**CLASSES, "ignore_id": 255}))
    (problem,), sentence = refused(str(tmp_path))
    assert problem.message == sentence
    assert sentence.startswith(f"No pixel of the val part of {tmp_path} has a class")


def jpeg_masks(root, mask):
    for index in range(3):
        save(root / "images" / f"{index}.png", np.full((24, 24), index))
        save(root / "masks" / f"{index}.jpg", mask, quality=95)
    return str(root)


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("mask", [np.repeat([[0], [1]], 12, axis=0), np.repeat([[0], [2]], 12, axis=0)])
def test_jpeg_masks_are_refused_by_every_command_alike(tmp_path, mask, described):
    spec = jpeg_masks(tmp_path, mask * np.ones((24, 24)))
    if described:
        (tmp_path / "dataset.json").write_text('{"classes": ["a", "b", "c"]}')
    (problem,) = [problem for problem in check_dataset(spec).problems if problem.kind != "class"]
    assert problem.kind == "lossy"
    assert "are in a lossy format (JPEG), which changes pixel values" in problem.message
    for reading in (load_dataset, lambda spec: propose(Path(spec))):
        with pytest.raises(DataError) as caught:
            reading(spec)
        assert str(caught.value) == problem.message


@pytest.mark.parametrize("described", [False, True])
def test_values_that_jpeg_left_as_they_were_are_read(tmp_path, described):
    spec = jpeg_masks(tmp_path, 255 * np.repeat([[0], [1], [1]], 8, axis=0) * np.ones((1, 24)))
    if described:
        (tmp_path / "dataset.json").write_text('{"classes": ["a", {"name": "b", "value": 255}]}')
    assert check_dataset(spec).ok
    assert np.unique(load_dataset(spec).label(0)).tolist() == [0, 1]
    write_proposal(tmp_path, overwrite=True)
    assert check_dataset(spec).ok


def test_values_that_jpeg_invented_are_no_classes_to_describe(tmp_path):
    (problem,), sentence = refused(jpeg_masks(tmp_path, np.eye(24) * 200))
    assert problem.message == sentence
    assert "lossy format (JPEG)" in sentence


@pytest.mark.parametrize(
    ("name", "options", "lossy"),
    [
        ("m.webp", {}, "lossy WebP"),
        ("m.webp", {"lossless": True}, None),
        ("m.jp2", {"irreversible": True}, "lossy JPEG 2000"),
        ("m.jp2", {}, None),
        ("m.tif", {"compression": "jpeg"}, "TIFF with JPEG inside"),
        ("m.tif", {"compression": "tiff_lzw"}, None),
        ("m.gif", {}, None),
        ("m.bmp", {}, None),
    ],
)
def test_formats_are_judged_by_what_they_keep(tmp_path, name, options, lossy):
    save(tmp_path / name, np.eye(24), **options)
    assert read_header(tmp_path / name).lossy == (lossy or "")


def test_the_background_is_said_where_nothing_names_it(tmp_path, caplog):
    spec = write_folder(tmp_path)
    report = check_dataset(spec)
    assert report.classes.background == "class 0"
    assert "Nothing says which class is the background" in report.background_note
    make_plan(TrainOptions(data=spec, augment="none"))
    assert "'class 0' (the value 0) is taken" in caplog.text
    caplog.clear()
    (tmp_path / "dataset.json").write_text(json.dumps({**CLASSES, "background": "b"}))
    make_plan(TrainOptions(data=spec, augment="none"))
    assert caplog.text == ""
    assert check_dataset(spec).background_note == "'b' is the background, which foreground means leave out."
    (tmp_path / "dataset.json").write_text(json.dumps(CLASSES))
    assert check_dataset(spec).classes.background is None
    assert "No class is the background" in check_dataset(spec).background_note
