"""The arrangements of folders that are read, and those that are refused rather than read in part."""

import json

import numpy as np
import pytest
from PIL import Image

from segtool.data.check import check_dataset
from segtool.data.loading import load_dataset
from segtool.errors import DataError


def fill(folder, names, *, mask=False):
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(np.full((4, 6), index % 2 if mask else 40 * index, np.uint8)).save(folder / f"{name}.png")


def pairs(root, images, masks, names=("a", "b"), mask_names=None):
    fill(root / images, names)
    fill(root / masks, mask_names or names, mask=True)


def splits(root):
    data = load_dataset(str(root))
    return {part: [data.sample_names[i] for i in indices] for part, indices in (data.splits or {}).items()}


@pytest.mark.parametrize(
    "places",
    [
        {"train": ("train/images", "train/masks"), "val": ("val/images", "val/masks")},
        {"train": ("train", "trainannot"), "val": ("val", "valannot")},
        {"train": ("train", "train_labels"), "val": ("val", "val_labels")},
        {"train": ("training", "training-masks"), "val": ("validation", "validation-masks")},
        {"train": ("images/train", "masks/train"), "val": ("images/val", "masks/val")},
        {"train": ("images/training", "annotations/training"), "val": ("images/valid", "annotations/valid")},
        {"train": ("train/images", "train/labels"), "val": ("valid/images", "valid/labels")},
    ],
    ids=lambda places: " ".join(places["train"]),
)
def test_parts_in_the_arrangements_in_use(tmp_path, places):
    pairs(tmp_path, *places["train"])
    pairs(tmp_path, *places["val"], names=("b", "c", "d"))
    assert splits(tmp_path) == {
        "train": ["train/a.png", "train/b.png"],
        "val": ["val/b.png", "val/c.png", "val/d.png"],
    }
    assert load_dataset(str(tmp_path)).label(4).tolist() == [[0] * 6] * 4
    assert load_dataset(str(tmp_path)).label(3).tolist() == [[1] * 6] * 4


def test_sub_folders_that_are_no_parts_are_one_pool(tmp_path):
    pairs(tmp_path, "images/train", "masks/train")
    pairs(tmp_path, "images/street", "masks/street")
    data = load_dataset(str(tmp_path))
    assert data.splits is None
    assert data.sample_names == ["street/a.png", "street/b.png", "train/a.png", "train/b.png"]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (("a_0", "b_0"), ("a_0_L", "b_0_L")),
        (("a", "b"), ("a-mask", "b-mask")),
        (("a_sat", "b_sat"), ("a_mask", "b_mask")),
        (("a_leftImg8bit", "b_leftImg8bit"), ("a_gtFine_labelIds", "b_gtFine_labelIds")),
        (("x/a_rgb", "x/b_rgb"), ("x/a", "x/b")),
    ],
)
def test_names_that_differ_by_what_all_end_with(tmp_path, images, masks):
    (tmp_path / "images" / "x").mkdir(parents=True)
    (tmp_path / "masks" / "x").mkdir(parents=True)
    pairs(tmp_path, "images", "masks", images, masks)
    data = load_dataset(str(tmp_path))
    assert data.sample_names == [f"{name}.png" for name in images]
    assert [data.label(i).max() for i in (0, 1)] == [0, 1]


def test_equal_names_are_kept_as_they_are(tmp_path):
    pairs(tmp_path, "images", "masks", ("a_1", "b_1"), ("a_1", "b_1", "c_1"))
    with pytest.raises(DataError, match=r"c_1\.png has no image of the same name"):
        load_dataset(str(tmp_path))


def test_a_part_whose_masks_are_missing_is_not_left_out(tmp_path):
    pairs(tmp_path, "train", "trainannot")
    fill(tmp_path / "val", ["c"])
    with pytest.raises(DataError, match=r"val.c\.png has no mask of the same name in .*valannot"):
        load_dataset(str(tmp_path))
    assert [problem.kind for problem in check_dataset(str(tmp_path)).problems] == ["missing"]


def test_two_folders_for_one_part_are_refused(tmp_path):
    pairs(tmp_path, "val/images", "val/masks")
    pairs(tmp_path, "valid/images", "valid/masks")
    with pytest.raises(DataError, match=r"are both the part 'val'"):
        load_dataset(str(tmp_path))


def test_images_without_any_masks_are_told_how_to_arrange(tmp_path):
    fill(tmp_path / "train", ["a"])
    with pytest.raises(DataError, match=r"only train/, .*images/ and masks/ .*train/ beside trainannot/"):
        load_dataset(str(tmp_path))


def test_colours_and_ids_of_one_set_are_the_same_data(tmp_path):
    colors = np.array([[128, 0, 0], [0, 128, 0], [0, 0, 0]], np.uint8)
    ids = np.arange(24).reshape(4, 6) % 3
    for name, mask in (("ids", ids.astype(np.uint8)), ("colors", colors[ids])):
        pairs(tmp_path / name, "train", "train_labels", names=("a",))
        Image.fromarray(mask).save(tmp_path / name / "train_labels" / "a.png")
    palette = Image.fromarray(ids.astype(np.uint8))
    palette.putpalette(colors.ravel().tolist())
    pairs(tmp_path / "palette", "train", "train_labels", names=("a",))
    palette.save(tmp_path / "palette" / "train_labels" / "a.png")
    by_color = {"classes": [{"name": n, "color": c.tolist()} for n, c in zip("xy", colors, strict=False)]}
    described = {"ids": {"classes": ["x", "y"], "ignore_id": 2}, "palette": {"classes": ["x", "y"], "ignore_id": 2}}
    found = []
    for name in ("ids", "colors", "palette"):
        text = described.get(name, {**by_color, "ignore_color": [0, 0, 0]})
        (tmp_path / name / "dataset.json").write_text(json.dumps(text))
        found.append(load_dataset(str(tmp_path / name)))
        assert ((found[-1].label(0) == found[-1].ignore_id) == (ids == 2)).all()
        assert (found[-1].label(0)[ids < 2] == ids[ids < 2]).all()
    (tmp_path / "palette" / "dataset.json").write_text(json.dumps({**by_color, "ignore_color": [0, 0, 0]}))
    assert (load_dataset(str(tmp_path / "palette")).label(0) == found[1].label(0)).all()


def test_names_are_not_cut_inside_a_word(tmp_path):
    pairs(tmp_path, "images", "masks", ("a1", "b1"), ("a2", "b2"))
    with pytest.raises(DataError, match=r"a1\.png has no mask of the same name"):
        load_dataset(str(tmp_path))


def test_a_class_that_training_never_shows_is_found(tmp_path):
    pairs(tmp_path, "train", "trainannot", names=("a", "b"))
    pairs(tmp_path, "val", "valannot", names=("c", "d"))
    assert check_dataset(str(tmp_path)).problems[0].kind == "duplicate"
    for index, name in enumerate(("c", "d")):
        Image.fromarray(np.full((4, 6), 9 + index, np.uint8)).save(tmp_path / "val" / f"{name}.png")
    assert check_dataset(str(tmp_path)).ok
    Image.fromarray(np.full((4, 6), 2, np.uint8)).save(tmp_path / "valannot" / "c.png")
    (problem,) = check_dataset(str(tmp_path)).problems
    assert (problem.kind, problem.sample) == ("class", "class 2")
    assert "in no readable label map of the training part" in problem.message
