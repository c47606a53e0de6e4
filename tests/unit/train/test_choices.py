"""What is chosen for the user: the network, the recipe, the size; and whether images may be mirrored."""

from __future__ import annotations

import numpy as np
import pytest

from segtool.data.base import Size
from segtool.train.augmentation.intensity import saturation
from segtool.train.augmentation.samples import Samples
from segtool.train.choices import choose, common_size, of_pixels, training_crop
from segtool.train.class_balance import class_weights
from segtool.train.options import TrainOptions
from segtool.train.recipes import is_handed, resolve_recipe


class Sized:
    """Data of which only the sizes matter."""

    def __init__(self, *sizes: Size) -> None:
        self._sizes = list(sizes)

    def sizes(self) -> list[Size]:
        return self._sizes


def chosen(data: Sized, **options: object) -> tuple[str, str, Size | None, int]:
    found = choose(TrainOptions(**options), data)  # type: ignore[arg-type]
    return found.options.arch, found.options.recipe, found.options.size, len(found.reasons)


def test_small_images_and_photographs_get_their_networks() -> None:
    assert chosen(Sized((64, 84))) == ("fcn8-edge", "standard", (64, 84), 2)
    assert chosen(Sized((127, 500)))[0] == "fcn8-edge"
    assert chosen(Sized((128, 500)))[:2] == ("fcn8-lite", "photos")
    assert chosen(Sized((360, 480), (360, 480), (20, 20)))[:2] == ("fcn8-lite", "photos")


def test_what_the_user_names_is_kept() -> None:
    photographs = Sized((360, 480))
    assert chosen(photographs, arch="fcn8-edge") == ("fcn8-edge", "standard", (360, 480), 1)
    assert chosen(photographs, recipe="fast")[:2] == ("fcn8-lite", "fast")
    assert chosen(photographs, arch="fcn8", recipe="source") == ("fcn8", "source", (360, 480), 0)
    assert chosen(photographs, size=(90, 120))[2] == (90, 120)
    assert chosen(Sized((3000, 4000)), crop=(256, 320))[2] is None
    assert chosen(Sized((64, 84)), encoder="lite1")[:2] == ("fcn8-lite", "photos")


def test_twelve_megapixels_are_resized_in_their_shape_to_multiples_of_32() -> None:
    height, width = common_size([(3000, 4000)] * 5)
    assert height % 32 == width % 32 == 0
    assert 400_000 <= height * width <= 600_000
    assert abs(height / width - 3 / 4) < 0.04
    assert chosen(Sized((3000, 4000)))[3] == 3


def test_mixed_sizes_get_the_most_frequent_one_or_the_median() -> None:
    assert common_size([(300, 301)] * 3 + [(640, 480), (200, 900)]) == (300, 301)
    assert common_size([(300, 400), (600, 800), (1200, 1600)]) == of_pixels(480_000, 3 / 4) == (608, 800)
    assert min(common_size([(1, 900), (2, 700), (1, 800)])) == 32


def test_crops_have_the_shape_of_the_images_and_are_not_larger() -> None:
    assert training_crop((360, 480), 256 * 320) == (256, 320)
    assert training_crop((40, 1000), 81920) == (40, 1000)
    assert training_crop((100, 90), 81920) == (100, 90)


@pytest.mark.parametrize("name", ["left hand", "right_arm", "Left", "arm-right", "eye.left", "RIGHT foot"])
def test_classes_that_differ_by_side_are_not_mirrored(name: str) -> None:
    assert is_handed(["background", name])
    augment = resolve_recipe(TrainOptions(recipe="photos"), ["background", name]).augment
    assert "flip-horizontal" not in augment
    assert "scale" in augment
    given = resolve_recipe(TrainOptions(recipe="photos", augment="flip-horizontal"), [name])
    assert given.augment == "flip-horizontal"


@pytest.mark.parametrize("name", ["bright", "leftover", "copyright", "cleft", "sky"])
def test_other_classes_are_mirrored(name: str) -> None:
    assert not is_handed(["background", name])
    assert "flip-horizontal" in resolve_recipe(TrainOptions(recipe="photos"), [name]).augment


def test_softened_weights_are_roots_with_a_mean_of_1_over_the_pixels() -> None:
    counts = np.array([[800, 100, 0, 90], [100, 0, 0, 10]])
    weights = np.array(class_weights("softened", counts))
    assert weights[2] == 0
    assert weights[1] / weights[0] == pytest.approx(3.0, rel=1e-4)
    assert (weights * counts.sum(0)).sum() / counts.sum() == pytest.approx(1.0, rel=1e-4)
    assert class_weights("softened", np.zeros((1, 2), np.int64)) == [0.0, 0.0]


def test_saturation_moves_channels_about_their_mean() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 190, (4, 6, 7, 3), np.uint8)
    known = np.ones((4, 6, 7), bool)
    known[0, 0, 0] = False
    changed = saturation(Samples(pixels, np.zeros((4, 6, 7), np.uint8), known), 0.5, rng).images
    assert changed.dtype == np.uint8
    assert not changed[0, 0, 0].any()
    inside = known
    assert np.abs(changed.mean(-1) - pixels.mean(-1))[inside].max() <= 1
    spread = (changed.std(-1).mean((1, 2)) / pixels.std(-1).mean((1, 2)))[1:]
    assert ((spread > 0.45) & (spread < 1.55)).all()
    assert spread.std() > 0.05
    grey = np.repeat(pixels[..., :1], 3, -1)
    assert np.array_equal(saturation(Samples(grey, known * 0, known), 0.5, rng).images[1:], grey[1:])
