"""Folders of image and mask files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saving import save

from segtool.data.classes import Classes
from segtool.data.loading import load_dataset
from segtool.errors import DataError

SHARED = Path(__file__).resolve().parents[3].parent / "shared"


@pytest.fixture
def folder(tmp_path):
    """Three grey 4 x 6 images; the ids 0, 1 and 2 in the masks."""
    for index in range(3):
        save(tmp_path / "images" / f"{index}.png", np.full((4, 6), 10 * index))
        save(tmp_path / "masks" / f"{index}.png", np.arange(24).reshape(4, 6) % 3)
    return tmp_path


def describe(folder, **description):
    (folder / "dataset.json").write_text(json.dumps(description))


def test_ids_in_grey_masks(folder):
    data = load_dataset(str(folder))
    assert (len(data), data.image_size, data.channels) == (3, (4, 6), 1)
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert data.background_id == 0
    assert data.splits is None
    assert data.sample_names == ["0.png", "1.png", "2.png"]
    np.testing.assert_array_equal(data.image(2), np.full((4, 6, 1), 20))
    np.testing.assert_array_equal(data.label(1), np.arange(24).reshape(4, 6) % 3)


def test_files_are_read_when_they_are_asked_for(folder):
    data = load_dataset(str(folder))
    save(folder / "images" / "1.png", np.full((4, 6), 99))
    assert data.image(1).max() == 99
    (folder / "images" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        data.image(1)


def test_palette_masks_are_their_indices(folder):
    for index in range(3):
        mask = Image.fromarray((np.arange(24).reshape(4, 6) % 3).astype(np.uint8))
        mask.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
        mask.save(folder / "masks" / f"{index}.png")
    np.testing.assert_array_equal(load_dataset(str(folder)).label(0), np.arange(24).reshape(4, 6) % 3)


def test_grey_masks_saved_as_rgb(folder):
    for index in range(3):
        save(folder / "masks" / f"{index}.png", np.repeat(np.arange(24).reshape(4, 6, 1) % 3, 3, axis=2))
    np.testing.assert_array_equal(load_dataset(str(folder)).label(0), np.arange(24).reshape(4, 6) % 3)


def test_one_colour_image_makes_the_data_set_colour(folder):
    save(folder / "images" / "1.png", np.zeros((4, 6, 3)))
    data = load_dataset(str(folder))
    assert data.channels == 3
    assert data.image(0).shape == (4, 6, 3)
    describe(folder, classes=["a", "b", "c"], channels=1)
    assert load_dataset(str(folder)).image(1).shape == (4, 6, 1)


def test_colour_masks_want_and_use_a_description(folder):
    colors = np.array([[0, 0, 0], [128, 64, 0], [255, 255, 255]])
    for index in range(3):
        save(folder / "masks" / f"{index}.png", colors[np.arange(24).reshape(4, 6) % 3])
    with pytest.raises(DataError, match=r"is in colour \(\[0, 0, 0\], .*dataset.json"):
        load_dataset(str(folder))
    classes = [{"name": "a", "color": [128, 64, 0]}, {"name": "b", "color": [0, 0, 0]}]
    describe(folder, classes=classes, ignore_color=[255, 255, 255])
    data = load_dataset(str(folder))
    assert data.ignore_id == 255
    np.testing.assert_array_equal(data.label(0), np.array([1, 0, 255])[np.arange(24).reshape(4, 6) % 3])


def test_parts_are_predefined_splits(folder):
    for part, count in (("train", 3), ("val", 2)):
        for index in range(count):
            save(folder / "split" / part / "images" / "deep" / f"{index}.jpg", np.zeros((4, 6)))
            save(folder / "split" / part / "masks" / "deep" / f"{index}.png", np.eye(4, 6))
    data = load_dataset(str(folder / "split"))
    assert {name: part.tolist() for name, part in data.splits.items()} == {"train": [0, 1, 2], "val": [3, 4]}
    assert data.sample_names[3] == "val/deep/0.jpg"


def test_sizes_that_differ_between_samples(folder):
    save(folder / "images" / "1.png", np.zeros((8, 10)))
    save(folder / "masks" / "1.png", np.zeros((8, 10)))
    data = load_dataset(str(folder))
    assert data.image_size is None
    with pytest.raises(DataError, match=r"different sizes \(4 x 6, 8 x 10"):
        data.arrays([0, 1])
    images, labels = data.arrays([0, 1], size=(5, 7))
    assert (images.shape, labels.shape) == ((2, 5, 7, 1), (2, 5, 7))


def test_an_image_on_its_side_fits_its_upright_mask(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "images" / "1.jpg", np.zeros((6, 4)), exif=exif)
    (folder / "images" / "1.png").unlink()
    data = load_dataset(str(folder))
    assert data.image(1).shape[:2] == data.label(1).shape == (4, 6)


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (remove("masks/1.png"), r"images.1\.png has no mask of the same name"),
        (remove("images/1.png"), r"masks.1\.png has no image of the same name"),
        (remove("masks/1.png", "masks/2.png"), r"2 images \(.*1\.png, 2\.png\) have no mask"),
        (
            lambda f: save(f / "masks" / "1.bmp", np.zeros((4, 6))),
            r"several masks, which differ in their suffixes \(1\.bmp, 1\.png\)",
        ),
        (lambda f: save(f / "images" / "1.bmp", np.zeros((4, 6))), "Of 1 name there are several images"),
        (lambda f: save(f / "masks" / "1.png", np.zeros((4, 7))), r"1\.png is 4 x 6 and 1\.png 4 x 7"),
        (lambda f: save(f / "masks" / "1.png", np.full((4, 6), 77)), r"hold the values \[0, 1, 2, 77\].*dataset\.json"),
        (
            lambda f: [save(f / "masks" / f"{i}.png", np.full((4, 6), 255)) for i in range(3)],
            r"values \[255\].*one value alone leaves nothing to learn: correct the masks",
        ),
        (write("masks/1.png", b""), r"masks.1\.png is empty"),
        (write("images/1.png", b"not an image"), r"images.1\.png is not an image"),
        (remove(*(f"{kind}/{i}.png" for kind in ("images", "masks") for i in range(3))), "has no images in images/"),
    ],
)
def test_folders_that_are_refused(folder, spoil, sentence):
    spoil(folder)
    with pytest.raises(DataError, match=sentence) as caught:
        load_dataset(str(folder))
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_named_before_what_all_masks_hold(folder):
    save(folder / "masks" / "1.png", np.full((4, 7), 77))
    with pytest.raises(DataError, match=r"1\.png is 4 x 6 and 1\.png 4 x 7"):
        load_dataset(str(folder))


class TestClassesOfAModel:
    """Data that do not describe themselves hold the ids of the model that they are for."""

    CLASSES = Classes(("a", "b", "c", "d", "e"), background_id=1)

    def test_a_gap_is_a_class_that_does_not_occur(self, folder):
        save(folder / "masks" / "1.png", np.full((4, 6), 4))
        data = load_dataset(str(folder), classes=self.CLASSES)
        assert data.classes == self.CLASSES
        assert np.unique(data.label(1)).tolist() == [4]

    def test_a_description_goes_before_them(self, folder):
        describe(folder, classes=["x", "y", "z"])
        assert load_dataset(str(folder), classes=self.CLASSES).class_names == ("x", "y", "z")

    def test_a_255_beside_ids_is_ignored(self, folder):
        save(folder / "masks" / "1.png", np.where(np.eye(4, 6), 255, 4))
        data = load_dataset(str(folder), classes=self.CLASSES)
        assert (data.class_names, data.ignore_id) == (self.CLASSES.names, 255)

    def test_masks_of_0_and_255_are_still_binary(self, folder):
        for index in range(3):
            save(folder / "masks" / f"{index}.png", np.eye(4, 6) * 255)
        data = load_dataset(str(folder), classes=Classes(("sky", "ground")))
        assert np.unique(data.label(0)).tolist() == [0, 1]

    def test_other_ids_are_named_with_their_mask(self, folder):
        save(folder / "masks" / "1.png", np.arange(24).reshape(4, 6))
        with pytest.raises(DataError, match=r"hold the values 5, 6, .* and 7 more, expected only .* 4; .*masks.1\.png"):
            load_dataset(str(folder), classes=self.CLASSES)


def test_a_described_mask_with_another_value_is_found_when_it_is_read(folder):
    describe(folder, classes=["a", "b"])
    with pytest.raises(DataError, match=r"masks.0\.png holds the value 2, expected only the values 0, 1"):
        load_dataset(str(folder)).label(0)


def test_other_files_are_left_alone(folder):
    (folder / "images" / "Thumbs.db").write_bytes(b"x")
    (folder / "images" / ".hidden.png").write_bytes(b"x")
    assert len(load_dataset(str(folder))) == 3


@pytest.mark.skipif(not (SHARED / "membrane").is_dir(), reason="the shared membranes are not beside this checkout")
def test_the_membranes():
    data = load_dataset(str(SHARED / "membrane"))
    assert (len(data), data.image_size, data.channels) == (30, (512, 512), 1)
    assert data.class_names == ("background", "foreground")
    images, labels = data.arrays([0, 29], size=(64, 84))
    assert (images.shape, labels.shape) == ((2, 64, 84, 1), (2, 64, 84))
    assert np.unique(data.label(3)).tolist() == [0, 1]
