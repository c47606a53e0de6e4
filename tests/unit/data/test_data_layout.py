"""The arrangements of folders that are read, and those that are refused rather than read in part."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segtool.cli import main
from segtool.data.check import check_dataset
from segtool.data.describe import propose
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
    with pytest.raises(DataError, match=r"None of 2 images in .* \(a1\.png, b1\.png\) has a mask in"):
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


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("Images", "Masks"),
        ("IMAGES", "GT"),
        ("imgs", "masks"),
        ("img", "mask"),
        ("image", "label"),
        ("JPEGImages", "SegmentationClass"),
        ("photos", "ground_truth"),
        ("images", "annotations/trimaps"),
        ("images", "Annotations"),
        ("images_png", "masks_png"),
        ("Images_512x512", "Masks_512x512"),
        ("original", "ground truth"),
        ("Original Images", "Label-Images"),
        ("rgb", "seg"),
        ("input", "output"),
        ("input", "target"),
        (".", "masks"),
    ],
)
def test_names_of_folders_in_use_in_any_case(tmp_path, images, masks):
    pairs(tmp_path, images, masks)
    data = load_dataset(str(tmp_path))
    assert (data.sample_names, data.splits) == (["a.png", "b.png"], None)
    assert check_dataset(str(tmp_path)).images == 2


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{}/Images", "{}/Labels"),
        ("Image/{}", "Mask/{}"),
        ("{}_images", "{}_masks"),
        ("images_{}", "masks_{}"),
        ("{}-img", "{}-gt"),
        ("{}", "{}_GT"),
    ],
)
@pytest.mark.parametrize("names", [("train", "val"), ("Training", "Validation")])
def test_parts_in_any_case_and_either_order(tmp_path, images, masks, names):
    pairs(tmp_path, images.format(names[0]), masks.format(names[0]))
    pairs(tmp_path, images.format(names[1]), masks.format(names[1]), names=("c", "d"))
    assert splits(tmp_path) == {"train": ["train/a.png", "train/b.png"], "val": ["val/c.png", "val/d.png"]}


def test_folders_of_which_one_holds_masks_in_another_form(tmp_path):
    pairs(tmp_path, "images", "segmentations")
    for name in ("labels/a.txt", "annotations/instances.json", "masks/readme.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1")
    assert load_dataset(str(tmp_path)).sample_names == ["a.png", "b.png"]


@pytest.fixture
def voc(tmp_path):
    """Six images, masks of five of them, and lists of train, val and test."""
    fill(tmp_path / "JPEGImages", [f"2007_{index}" for index in range(6)])
    fill(tmp_path / "SegmentationClass", [f"2007_{index}" for index in range(5)], mask=True)
    fill(tmp_path / "SegmentationObject", ["2007_0"], mask=True)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "2007_0.xml").write_text("<annotation/>")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, indices in (("train", (0, 1)), ("val", (2, 3)), ("trainval", (0, 1, 2, 3)), ("test", (5, 9))):
        (lists / f"{name}.txt").write_text("".join(f"2007_{index}\n" for index in indices))
    return tmp_path


def test_the_parts_of_pascal_voc_are_those_of_its_lists(voc, caplog):
    expected = {"train": ["train/2007_0.png", "train/2007_1.png"], "val": ["val/2007_2.png", "val/2007_3.png"]}
    assert splits(voc) == expected
    assert "1 image of" in caplog.text
    assert check_dataset(str(voc)).ok
    (voc / "ImageSets" / "Segmentation" / "Train.txt").write_text("2007_0\r\n2007_8\r\n")
    (voc / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"Train\.txt lists 1 name without an image in .*JPEGImages \(2007_8\)"):
        load_dataset(str(voc))


def test_images_of_pascal_voc_without_a_mask_are_left_out_with_a_word(voc, caplog):
    for name in ("train", "val", "test"):
        (voc / "ImageSets" / "Segmentation" / f"{name}.txt").unlink()
    assert load_dataset(str(voc)).sample_names == [f"2007_{index}.png" for index in range(5)]
    assert "1 image of" in caplog.text
    assert "without a mask in" in caplog.text
    assert "2007_5.png" in caplog.text
    assert check_dataset(str(voc)).ok


def test_a_mask_that_a_list_of_pascal_voc_wants_is_missed(voc):
    (voc / "SegmentationClass" / "2007_3.png").unlink()
    with pytest.raises(DataError, match=r"2007_3\.png has no mask"):
        load_dataset(str(voc))


KINDS = ("labelTrainIds", "labelIds", "color", "instanceIds")


@pytest.mark.parametrize("lacking", [(), ("labelTrainIds",)])
def test_of_the_masks_of_cityscapes_one_kind_is_read(tmp_path, caplog, lacking):
    for part, town in (("train", "ulm"), ("train", "aachen"), ("val", "bonn")):
        stems = [f"{town}_00000{index}_000019" for index in range(2)]
        fill(tmp_path / "leftImg8bit" / part / town, [f"{stem}_leftImg8bit" for stem in stems])
        for kind in set(KINDS) - set(lacking):
            fill(
                tmp_path / "gtFine" / part / town,
                [f"{stem}_gtFine_{kind}" for stem in stems],
                mask=kind.startswith("label"),
            )
        (tmp_path / "gtFine" / part / town / f"{stems[0]}_gtFine_polygons.json").write_text("{}")
    data = load_dataset(str(tmp_path))
    assert {part: len(found) for part, found in (data.splits or {}).items()} == {"train": 4, "val": 2}
    assert data.sample_names[0] == "train/aachen/aachen_000000_000019_leftImg8bit.png"
    chosen = "_labelIds" if lacking else "_labelTrainIds"
    assert f"kinds of masks: those that end with {chosen} are read" in caplog.text
    assert [data.label(1).max(), data.label(0).max()] == [1, 0]


def test_one_kind_of_masks_is_read_in_all_parts(tmp_path, caplog):
    for part in ("train", "val"):
        fill(tmp_path / "leftImg8bit" / part, [f"{part}{index}_leftImg8bit" for index in range(3)])
        for kind, count in (("labelIds", 3), ("labelTrainIds", 3 if part == "val" else 2)):
            names = [f"{part}{index}_gtFine_{kind}" for index in range(count)]
            fill(tmp_path / "gtFine" / part, names, mask=kind == "labelIds")
    data = load_dataset(str(tmp_path))
    assert [data.label(index).max() for index in range(6)] == [0, 1, 0, 0, 1, 0]
    assert "those that end with _labelIds are read, the others (_labelTrainIds)" in caplog.text


def test_masks_beside_their_images(tmp_path):
    for patient in ("TCGA_1", "TCGA_2"):
        fill(tmp_path / patient, [f"{patient}_{index}" for index in range(3)])
        fill(tmp_path / patient, [f"{patient}_{index}_mask" for index in range(3)], mask=True)
    (tmp_path / "data.csv").write_text("Patient,age")
    data = load_dataset(str(tmp_path))
    assert data.sample_names == [f"{name}/{name}_{index}.png" for name in ("TCGA_1", "TCGA_2") for index in range(3)]
    assert data.label(1).max() == 1
    fill(tmp_path / "TCGA_1", ["TCGA_1_1_mask_1"], mask=True)
    with pytest.raises(DataError, match=r"TCGA_1_1_mask_1\.png is a further mask of TCGA_1_1\.png"):
        load_dataset(str(tmp_path))


def test_an_image_and_its_mask_in_a_folder_of_their_own(tmp_path):
    for index in range(3):
        fill(tmp_path / f"sample{index}", ["image"])
        Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(tmp_path / f"sample{index}" / "mask.png")
    assert load_dataset(str(tmp_path)).sample_names == [f"sample{index}/image.png" for index in range(3)]


@pytest.mark.parametrize("place", ["data", "release/data"])
def test_a_folder_above_the_right_one_names_that(tmp_path, place):
    pairs(tmp_path / place, "images", "masks")
    with pytest.raises(DataError, match=rf"name the folder that has them, such as {tmp_path / place}\.$"):
        load_dataset(str(tmp_path))


def test_the_folders_of_camvid_as_it_is_published(tmp_path):
    names = ["0001TP_006690", "0001TP_006720"]
    pairs(tmp_path, "701_StillsRaw_full", "LabeledApproved_full", names, [f"{name}_L" for name in names])
    for path in (tmp_path / "LabeledApproved_full").iterdir():
        colors = np.repeat([[[64, 128, 64]], [[192, 0, 128]]], 6, axis=1).repeat(2, axis=0)
        Image.fromarray(colors.astype(np.uint8)).save(path)
    (tmp_path / "label_colors.txt").write_text("64 128 64\tAnimal\n192 0 128\t\tArchway\n0 0 0 Void\n")
    data = load_dataset(str(tmp_path))
    assert (data.class_names, data.ignore_id, len(data)) == (("Animal", "Archway"), 255, 2)
    assert data.label(0)[:, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("names", [("scene1", "scene2"), ("fold_01", "fold_02"), ("2021-03-04", "2021-03-05")])
def test_numbered_folders_with_images_and_masks_are_one_set(tmp_path, caplog, names):
    for name in names:
        pairs(tmp_path / name, "images", "masks")
    (tmp_path / "docs").mkdir()
    data = load_dataset(str(tmp_path))
    assert data.splits is None
    assert data.sample_names == [f"{name}/{file}.png" for name in names for file in "ab"]
    assert f"2 folders with images and masks ({names[0]}/, {names[1]}/): they are read as one set" in caplog.text
    assert check_dataset(str(tmp_path)).images == 4


@pytest.mark.parametrize("further", ["street/images", "scene3", "scene3/train/images", "extra"])
def test_folders_that_may_be_several_sets_are_not_read_as_one(tmp_path, further):
    for name in ("scene1", "scene2"):
        pairs(tmp_path / name, "images", "masks")
    pairs(tmp_path, further, further.replace("images", "masks"), ("c", "d"))
    with pytest.raises(DataError, match=rf"name the folder that has them, such as {tmp_path}/scene1\.$"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (("pics", "drawn"), "these folders with images are not known: drawn/, pics/; rename that of the images to "
         "images/ and that of the masks to masks/ (in use are, in any case and with any signs between words, for "),
        (("pics", "masks"), "masks/ holds masks, and the names of these folders with images are not known: pics/; "
         "rename that of the images to images/ (in use"),
        (("images", "drawn"), "images/ holds images, and the names of these folders with images are not known: "
         "drawn/; rename that of the masks to masks/ (in use are, in any case and with any signs between words, for "),
        (("train/pics", "train/masks"), "masks/ holds masks, and the names of these folders with images are not known: "
         "pics/; rename that of the images to images/"),
    ],
)  # fmt: skip
def test_folders_of_other_names_are_named_with_those_that_are_known(tmp_path, places, says):
    pairs(tmp_path, *places)
    with pytest.raises(DataError) as loaded:
        load_dataset(str(tmp_path))
    assert says in str(loaded.value)
    with pytest.raises(DataError) as described:
        propose(tmp_path)
    assert says in str(described.value)
    checked = CliRunner().invoke(main, ["data", "check", str(tmp_path), "--json"])
    assert checked.exit_code == 1
    assert says in checked.output


def test_of_drive_the_drawn_vessels_are_read_and_not_the_field_of_view(tmp_path):
    fill(tmp_path / "training" / "images", ["21_training", "22_training"])
    fill(tmp_path / "training" / "1st_manual", ["21_manual1", "22_manual1"], mask=True)
    fill(tmp_path / "training" / "mask", ["21_training_mask", "22_training_mask"])
    assert load_dataset(str(tmp_path)).label(1).max() == 1


@pytest.mark.parametrize(
    ("places", "unread"),
    [
        ([("train/images", "train/masks"), ("images/val", "masks/val")], "train/"),
        ([("train/images", "train/masks"), ("dev/images", "dev/masks")], "dev/"),
        ([("images", "masks"), ("others/images", "labels")], "labels/, others/"),
        ([("train/images", "train/masks"), ("train/photos", "train/labels")], "train/labels/, train/photos/"),
    ],
)
def test_folders_with_images_that_are_not_read_are_named(tmp_path, caplog, places, unread):
    for images, masks in places:
        pairs(tmp_path, images, masks)
    load_dataset(str(tmp_path))
    message = f"has folders with images that are not read: {unread}; read are "
    assert message in caplog.text
    assert any(message in problem.message for problem in check_dataset(str(tmp_path)).problems)


@pytest.mark.parametrize(
    "places",
    [
        [("images", "masks")],
        [("train", "trainannot"), ("val", "valannot")],
        [("JPEGImages", "SegmentationClass"), ("previews", "SegmentationObject")],
        [("images", "annotations/trimaps")],
        [("images", "masks"), ("original", "output")],
    ],
)
def test_folders_that_are_read_or_say_nothing_of_data_are_not_named(tmp_path, caplog, places):
    for images, masks in places:
        pairs(tmp_path, images, masks)
    load_dataset(str(tmp_path))
    assert "are not read" not in caplog.text
