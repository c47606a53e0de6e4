"""Outlines of LabelMe, COCO and YOLO: named where masks are expected, and drawn as masks by `data convert`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segtool.cli import main
from segtool.data.check import check_dataset
from segtool.data.convert import convert
from segtool.data.loading import load_dataset
from segtool.errors import DataError, OutputExistsError

SQUARE = [[2, 3], [7, 3], [7, 8], [2, 8]]  # x, y: covers rows 3..8 and columns 2..7
INNER = [[4, 4], [5, 4], [5, 6], [4, 6]]


def image(path: Path, grey: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 16), grey, np.uint8)).save(path)
    return path


def expected() -> np.ndarray:
    mask = np.zeros((12, 16), np.uint8)
    mask[3:9, 2:8] = 1
    mask[4:7, 4:6] = 2
    return mask


def labelme(folder: Path, *, path: str = "{}.png", **shape) -> Path:
    for index in range(3):
        image(folder / f"{index}.png", 20 * index)
        shapes = [
            {"label": "cat", "points": SQUARE, "shape_type": "polygon"},
            {"label": "dog", "points": INNER, **shape},
        ]
        raw = {"version": "5.0", "shapes": shapes, "imagePath": path.format(index), "imageHeight": 12, "imageWidth": 16}
        (folder / f"{index}.json").write_text(json.dumps(raw))
    return folder


def coco(folder: Path, *, part: str = "train", place: str = "annotations/instances_{}.json", **annotation) -> Path:
    images = [{"id": index, "file_name": f"{index}.png", "height": 12, "width": 16} for index in range(3)]
    for index in range(3):
        image(folder / part / f"{index}.png", 20 * index + len(part))
    flat = [np.ravel(points).tolist() for points in (INNER, SQUARE)]
    annotations = [
        {"id": 9 * index + place, "image_id": index, "category_id": (8, 3)[place], "segmentation": [flat[place]],
         "area": (6, 36)[place], **annotation}
        for index in range(3) for place in range(2)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "unused"}, {"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]
    path = folder / place.format(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return folder


YAMLS = (
    "train: images\nnames: ['cat', \"dog\"]\nnc: 2\n",
    "names:\n  0: cat  # tame\n  1: dog\nnc: 2\n",
    "nc: 2\nnames:\n- cat\n- dog\n\ntrain: x\n",
    "names: {0: cat, 1: dog}\n",
    "names: [\n  cat,\n  dog\n]\npath: [a]\n",
)


def yolo(folder: Path, *, images: str = "{}/images", labels: str = "{}/labels", yaml: str = YAMLS[0]) -> Path:
    for part in ("train", "valid"):
        for index in range(2):
            image(folder / images.format(part) / f"{index}.v1.png", 20 * index + len(part))
            lines = [
                " ".join([str(number), *(f"{x / 16:.6f} {y / 12:.6f}" for x, y in points)])
                for number, points in enumerate((SQUARE, INNER))
            ]
            path = folder / labels.format(part) / f"{index}.v1.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    image(folder / images.format("train") / "nothing.png", 77)
    (folder / "data.yaml").write_text(yaml)
    return folder


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (labelme, "LabelMe"),
        (lambda folder: labelme(folder, path="..\\elsewhere\\{}.png"), "LabelMe"),
        (coco, "COCO"),
        (lambda folder: coco(folder, place="{}/_annotations.coco.json"), "COCO"),
        (lambda folder: coco(folder, part="images"), "COCO"),
        (yolo, "YOLO"),
        (lambda folder: yolo(folder, images="images/{}", labels="labels/{}"), "YOLO"),
    ],
)
def test_outlines_are_named_and_drawn(tmp_path, monkeypatch, make, form):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "set")
    command = "segtool data convert set set-masks"
    with pytest.raises(DataError, match=f"has the outlines of objects in the form of {form}.*`{command}`"):
        load_dataset("set")
    checked = CliRunner().invoke(main, ["data", "check", "set"])
    assert checked.exit_code == 1
    assert command in " ".join(checked.output.split())
    done = CliRunner().invoke(main, command.split()[1:])
    assert done.exit_code == 0, done.output
    data = load_dataset("set-masks")
    assert (data.class_names, data.background_id) == (("background", "cat", "dog"), 0)
    for index, name in enumerate(data.sample_names):
        drawn = np.zeros((12, 16)) if "nothing" in name else expected()
        np.testing.assert_array_equal(data.label(index), drawn, err_msg=name)
    assert check_dataset("set-masks").ok or form == "YOLO"


@pytest.mark.parametrize("yaml", YAMLS)
def test_the_names_of_yolo(tmp_path, yaml):
    convert(yolo(tmp_path / "set", yaml=yaml), tmp_path / "out")
    assert load_dataset(str(tmp_path / "out")).class_names == ("background", "cat", "dog")


def test_boxes_are_named_and_no_command_is_promised(tmp_path):
    (yolo(tmp_path) / "train/labels/0.v1.txt").write_text("0 .5 .5 .1 .1")
    for path in tmp_path.glob("*/labels/*.txt"):
        path.write_text("0 .5 .5 .1 .1\n")
    (problem,) = check_dataset(str(tmp_path)).problems
    assert "boxes of objects in the form of YOLO" in problem.message
    assert not problem.command


def test_parts_stay_parts(tmp_path):
    convert(yolo(tmp_path / "yolo"), tmp_path / "a")
    assert {part: len(one) for part, one in load_dataset(str(tmp_path / "a")).splits.items()} == {"train": 3, "val": 2}
    coco(coco(tmp_path / "coco", part="train2017"), part="val2017")
    convert(tmp_path / "coco", tmp_path / "b")
    assert {part: len(one) for part, one in load_dataset(str(tmp_path / "b")).splits.items()} == {"train": 3, "val": 3}


def test_run_lengths_as_numbers_are_drawn_and_compressed_ones_refused(tmp_path):
    mask = expected() > 0
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    convert(coco(tmp_path / "a", segmentation={"size": [12, 16], "counts": runs}), tmp_path / "out")
    np.testing.assert_array_equal(load_dataset(str(tmp_path / "out")).label(0) > 0, mask)
    with pytest.raises(DataError, match="compressed run lengths"):
        convert(coco(tmp_path / "b", segmentation={"size": [12, 16], "counts": "X0f3"}), tmp_path / "out2")
    with pytest.raises(DataError, match="do not fit"):
        convert(coco(tmp_path / "c", segmentation={"size": [12, 16], "counts": [5]}), tmp_path / "out3")


def test_rectangles_and_circles_of_labelme(tmp_path):
    convert(labelme(tmp_path / "a", points=[[4, 4], [5, 6]], shape_type="rectangle"), tmp_path / "out")
    np.testing.assert_array_equal(load_dataset(str(tmp_path / "out")).label(0), expected())
    convert(labelme(tmp_path / "b", points=[[10, 6], [13, 6]], shape_type="circle"), tmp_path / "round")
    disc = load_dataset(str(tmp_path / "round")).label(0) == 2
    assert disc[6, 10]
    assert 20 < disc.sum() < 45


@pytest.mark.parametrize("kind", ["line", "linestrip", "point", "points"])
def test_shapes_of_labelme_without_an_area_are_left_out_and_counted(tmp_path, kind):
    labelme(tmp_path / "set", shape_type=kind)
    spoil(tmp_path / "set" / "1.json", f': "{kind}"', ': "polygon"')
    result = CliRunner().invoke(main, ["data", "convert", str(tmp_path / "set"), str(tmp_path / "out")])
    assert result.exit_code == 3
    text = " ".join(result.output.split())
    assert f"2 shapes without an area left out (2 of the type {kind}), in 0.json, 2.json" in text
    data = load_dataset(str(tmp_path / "out"))
    assert [np.unique(data.label(index)).tolist() for index in range(3)] == [[0, 1], [0, 1, 2], [0, 1]]


def spoil(path: Path, old: str, new: str) -> Path:
    path.write_text(path.read_text().replace(old, new))
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: labelme(at, shape_type="mask"), "a shape of the type 'mask' "),
        (lambda at: spoil(labelme(at) / "1.json", '"imageHeight": 12', '"imageHeight": 99'), "12 x 16 .* for 99 x 16"),
        (lambda at: (labelme(at) / "1.png").unlink(), "is of the image 1.png, which is not there"),
        (
            lambda at: spoil(labelme(at) / "1.json", '"points"', '"pts"'),
            "annotations of .* have an entry without 'points'",
        ),
        (lambda at: spoil(coco(at) / "annotations/instances_train.json", "2.png", "7.png"), "names the image 7.png"),
        (lambda at: spoil(coco(at) / "annotations/instances_train.json", "[4, 4, ", "[4, "), "has 7 numbers, expected"),
        (
            lambda at: spoil(coco(at) / "annotations/instances_train.json", '"images"', '"images'),
            "is no JSON that can be read",
        ),
        (lambda at: (yolo(at) / "data.yaml").unlink(), "has no data.yaml"),
        (lambda at: (yolo(at) / "data.yaml").write_text("names: 3"), "has no list of names that can be read"),
        (lambda at: (yolo(at) / "train/labels/0.v1.txt").write_text("0 .5 .5 .1 .1"), "has boxes"),
        (
            lambda at: (yolo(at) / "train/labels/0.v1.txt").write_text("5 .1 .1 .2 .2 .1 .2"),
            "has the class 5, expected",
        ),
        (lambda at: spoil(labelme(at) / "1.json", "[2, 3]", "null"), "an entry that is no outline"),
        (lambda at: spoil(labelme(at) / "1.json", "[2, 3]", "[NaN, 3]"), "a point that is no number"),
        (lambda at: at.mkdir(), "has no outlines that are known"),
    ],
)
def test_outlines_that_cannot_be_drawn_are_refused_by_name(tmp_path, make, says):
    make(tmp_path / "set")
    with pytest.raises(DataError, match=says) as caught:
        convert(tmp_path / "set", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path):
    labelme(tmp_path / "set")
    with pytest.raises(OutputExistsError, match="name a new folder"):
        convert(tmp_path / "set", tmp_path / "set")
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / "set", tmp_path / "empty").images == {"": 3}


def test_a_name_does_not_lead_out_of_the_folder(tmp_path):
    path = coco(tmp_path / "set") / "annotations" / "instances_train.json"
    spoil(path, '"file_name": "1.png"', '"file_name": "../train/1.png"')
    with pytest.raises(DataError, match="of which there is none"):
        convert(tmp_path / "set", tmp_path / "out")
