"""Which mask is whose, by names that differ in the ways that are in use, and what is said where none fits."""

import shlex
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from segtool.data.check import check_dataset
from segtool.data.listing import list_samples
from segtool.data.loading import load_dataset
from segtool.data.pairing import pair
from segtool.errors import DataError

NUMBERS = [f"{number:03}" for number in range(6)]


def fill(folder, names):
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 6), index % 2, np.uint8)).save(path, "PNG")


def named(pattern, names=NUMBERS):
    return [pattern.format(name) for name in names]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("img_{}", "mask_{}"),
        ("img{}", "mask{}"),
        ("{}", "{}_L"),
        ("{}", "{}_mask"),
        ("{} (1)", "{} (1)_mask"),
        ("{}_training", "{}_manual1"),
        ("im{}", "im{}.ah"),
        ("ISIC_{}", "ISIC_{}_segmentation"),
        ("scene{}_img_1", "scene{}_mask_1"),
        ("DSC{}", "{}"),
        ("Scene_{}", "scene_{}"),
        ("SCENE-{}", "scene_{}_MASK"),
        ("{}", "{}.jpg"),
        ("{}", "{}.jpg.mask"),
        ("a_{}_leftImg8bit", "a_{}_gtFine_labelIds"),
        ("street/{}", "street_masks/{}"),
        ("day1/{}", "seg1/{}"),
        ("{}", "all/{}"),
        ("{}/image", "{}/mask"),
        ("x_{}_leftImg8bit", "x_{}_gtFine_labellevel3Ids"),
    ],
)
def test_names_that_differ_in_what_all_of_a_kind_have(images, masks):
    expected = dict(zip(named(images), named(masks), strict=True))
    assert pair(named(images), named(masks)[::-1]).masks == expected
    unpadded = [str(int(name)) for name in NUMBERS]
    assert [*pair(named(images), named(masks, unpadded)).masks.values()] == named(masks, unpadded)


def test_forms_of_unicode():
    names = ["straße_1", "größe_2", "café_3"]
    decomposed = [unicodedata.normalize("NFD", name) for name in names]
    assert pair(names, decomposed).masks == dict(zip(names, decomposed, strict=True))


@pytest.mark.parametrize("odd", ["005_L", "mask_005", "5", "005.jpg", "005_tumour", "MASK-5"])
def test_an_odd_mask_does_not_break_the_others(odd):
    assert pair(NUMBERS, [*NUMBERS[:5], odd]).masks == {**{name: name for name in NUMBERS[:5]}, "005": odd}


@pytest.mark.parametrize("odd", ["other", "7", "x/005"])
def test_an_odd_mask_that_fits_nothing_leaves_the_other_pairs(odd):
    found = pair(named("img_{}"), [*named("mask_{}", NUMBERS[:5]), odd])
    assert len(found.masks) == 5


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["cat_7"], ["dog_7"]),
        (["foo"], ["bar"]),
        ([*NUMBERS, "cat_7"], [*NUMBERS, "dog_7"]),
        (["a1", "b1"], ["a2", "b2"]),
        (["p_1"], ["p_1_2"]),
        (["A", "a"], ["a_mask", "A_Mask_2"]),
    ],
)
def test_what_only_looks_alike_is_no_pair(images, masks):
    found = pair(images, masks).masks
    assert all(image in (mask, "a") for image, mask in found.items())


def test_names_that_differ_in_case_alone_keep_their_own_masks():
    assert pair(["A", "a"], ["a", "A"]).masks == {"A": "A", "a": "a"}
    assert pair(["A", "a"], ["a_mask", "A_mask"]).masks == {"A": "A_mask", "a": "a_mask"}
    assert pair(["1", "01"], ["01_L", "1_L"]).masks == {"1": "1_L", "01": "01_L"}


def test_a_further_mask_of_one_image_is_named_and_the_other_pairs_stand(tmp_path):
    fill(tmp_path / "images", named("benign ({}).png"))
    fill(tmp_path / "masks", [*named("benign ({})_mask.png"), "benign (003)_mask_1.png"])
    listing = list_samples(tmp_path)
    assert len(listing.samples) == 6
    (problem,) = listing.problems
    assert (problem.kind, problem.sample) == ("ambiguous", "benign (003)_mask_1")
    assert "masks/benign (003)_mask_1.png is a further mask of benign (003).png" in problem.message
    assert "draw both into one file" in problem.message
    assert [problem.message for problem in check_dataset(str(tmp_path)).problems if problem.kind == "ambiguous"]
    with pytest.raises(DataError, match="is a further mask of benign"):
        load_dataset(str(tmp_path))


def test_several_masks_of_each_image_are_one_sentence(tmp_path):
    fill(tmp_path / "images", named("Image_{}L.png"))
    fill(tmp_path / "masks", [*named("Image_{}L_1stHO.png"), *named("Image_{}L_2ndHO.png")])
    (problem,) = list_samples(tmp_path).problems
    assert ") have several masks (Image_000L.png: Image_000L_1stHO.png, Image_000L_2ndHO.png)" in problem.message
    assert len(problem.samples) == 6


def test_masks_of_one_class_in_sub_folders_are_one_sentence_and_its_line_joins_them(tmp_path):
    fill(tmp_path / "images", named("{}.png"))
    for name in ("a car", "road"):
        fill(tmp_path / "masks" / name, named("{}.png"))
    Image.fromarray(np.uint8([[0, 255]])).save(tmp_path / "masks" / "road" / "000.png")
    Image.fromarray(np.uint8([[255, 0]])).save(tmp_path / "masks" / "a car" / "000.png")
    (problem,) = list_samples(tmp_path).problems
    assert "(000.png: a car/000.png, road/000.png)" in problem.message
    assert len(problem.samples) == 6
    _, _, rest = problem.message.partition("python -c ")
    code, arguments = rest.removesuffix(".")[1:].split('" ')
    subprocess.run([sys.executable, "-c", code, *shlex.split(arguments)], check=True)
    for name in ("a car", "road"):
        (tmp_path / "masks" / name).rename(tmp_path / name)
    assert not list_samples(tmp_path).problems
    assert np.asarray(Image.open(tmp_path / "masks" / "000.png")).tolist() == [[1, 2]]


def test_one_class_that_most_images_have_hides_no_other(tmp_path):
    fill(tmp_path / "images", named("{}.png"))
    fill(tmp_path / "masks" / "dog", named("{}.png"))
    fill(tmp_path / "masks" / "cat", named("{}.png", NUMBERS[:1]))
    (problem,) = list_samples(tmp_path).problems
    assert "(000.png: cat/000.png, dog/000.png)" in problem.message


def test_masks_that_are_no_images_are_named(tmp_path):
    fill(tmp_path / "images", named("{}.png"))
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "000.npy", np.zeros((4, 6), np.uint8))
    (problem,) = list_samples(tmp_path).problems
    assert "masks, which holds no image files but 000.npy" in problem.message


def test_a_broken_link_is_no_missing_sample(tmp_path):
    fill(tmp_path / "images", named("{}.png"))
    fill(tmp_path / "masks", named("{}.png"))
    for kind in ("images", "masks"):
        (tmp_path / kind / "000.png").unlink()
        (tmp_path / kind / "000.png").symlink_to("not/pulled.png")
    with pytest.raises(DataError, match="is a broken link"):
        load_dataset(str(tmp_path))
    assert {problem.kind for problem in check_dataset(str(tmp_path)).problems} >= {"unreadable"}


@pytest.mark.parametrize(
    ("images", "masks", "says"),
    [
        (
            NUMBERS,
            NUMBERS[:2],
            r"4 images \(.*images.002.png, 003.png, 004.png, ...\) have no mask of the same name in .*masks; add",
        ),
        (NUMBERS[:2], NUMBERS, r"4 masks \(.*002.png, .*\) have no image of the same name in .*images; add"),
        (NUMBERS, named("9{}"), r"None of 6 images in .* \(000.png, .*\) has a mask in .* \(9000.png"),
        ([*NUMBERS, "p/7"], [*NUMBERS, "q/7"], "The image .*7.png has a mask in another sub-folder"),
        (["1", "2", "3"], ["1", "2", "7"], "images.3.png has no mask of the same name"),
        (
            ["i_0", "i_1", "i_2"],
            ["m_1", "m_2", "m_3"],
            r"images are numbered 0 to 2 and the masks 1 to 3.*\(i_0.png and m_3",
        ),
    ],
)
def test_one_sentence_for_each_cause(tmp_path, images, masks, says):
    fill(tmp_path / "images", named("{}.png", images))
    fill(tmp_path / "masks", named("{}.png", masks))
    problems = list_samples(tmp_path).problems
    assert len(problems) == (2 if "images.3" in says else 1)
    with pytest.raises(DataError, match=says):
        load_dataset(str(tmp_path))


def test_a_second_kind_of_masks_is_one_sentence(tmp_path):
    fill(tmp_path / "images", named("{}.png"))
    fill(tmp_path / "masks", [*named("{}.png"), *named("{}_color.png")])
    (problem,) = list_samples(tmp_path).problems
    assert ") have several masks (000.png: 000.png, 000_color.png), expected one" in problem.message


def test_suffixes_that_all_come_twice_are_one_sentence(tmp_path):
    fill(tmp_path / "images", [*named("{}.png"), *named("{}.jpg")])
    fill(tmp_path / "masks", named("{}.png"))
    (problem,) = list_samples(tmp_path).problems
    assert problem.message.startswith(
        "Of 6 names there are several images, which differ in their suffixes (000.jpg, 000.p"
    )


def test_a_hidden_folder_is_ignored(tmp_path):
    fill(tmp_path / "images", [*named("{}.png"), ".ipynb_checkpoints/003-checkpoint.png"])
    fill(tmp_path / "masks", [*named("{}.png"), ".ipynb_checkpoints/003-checkpoint.png", "__MACOSX/._1.png", "._1.png"])
    assert not list_samples(tmp_path).problems
    assert len(list_samples(tmp_path).samples) == 6
