"""Splitting a data set into training, validation and test, reproducibly; and what a training needs of these parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segtool.array_types import IndexArray
from segtool.data.base import Dataset
from segtool.errors import DataError
from segtool.text import counted

VAL_SPLIT = 0.2
"""Fraction of the images for validation, if the data have no validation part and no option sets it."""


@dataclass(frozen=True)
class Split:
    """Which samples are for training, validation and test: sample indices, each at most once."""

    train: IndexArray
    val: IndexArray
    test: IndexArray

    def named(self, name: str) -> IndexArray:
        """Return the part train, val or test, or every sample in order for "all"; DataError if it is empty."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        parts["all"] = np.sort(np.concatenate(list(parts.values())))
        if name not in parts or not parts[name].size:
            filled = [key for key, part in parts.items() if part.size]
            raise DataError(f"The data set has no {name!r} split, it has {', '.join(filled)}; choose one of these.")
        return parts[name]


def split(dataset: Dataset, *, val_fraction: float = VAL_SPLIT, test_fraction: float = 0.0, seed: int) -> Split:
    """Split a data set; predefined parts are used as they are.

    Without any, all samples are permuted by ``Generator(PCG64(seed))``; the first
    ``int(n * (1 - val_fraction - test_fraction))`` are for training, then come validation and test. A predefined
    training part without a validation (or test) part gives that up in the same way. Where the given parts leave
    nothing for training, that is empty.

    Parameters
    ----------
    val_fraction, test_fraction
        Shares of the samples, each in [0, 1), together below 1.
    seed
        Seed of the permutation.

    Raises
    ------
    DataError
        Fractions out of range, or too few samples to leave one for training.
    """
    given = dataset.splits or {}
    return _split(len(dataset), given, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)


def training_split(
    count: int,
    given: Mapping[str, IndexArray],
    *,
    spec: str,
    val_fraction: float = VAL_SPLIT,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Split:
    """Split `count` samples with the predefined parts `given` as `split` does, for a training.

    `spec` names the data set in errors. Raise a DataError also if nothing is left to train or to validate on.
    """
    parts = _split(count, given, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    if not len(parts.train):
        there = ", ".join(f"{name} ({counted(len(part), 'image')})" for name, part in given.items())
        raise DataError(
            f"There is no train part in {spec}, only {there}, expected images to train on; add the part, or keep all "
            "images in one, from which the parts are then drawn."
        )
    if not len(parts.val):
        raise DataError(
            f"{spec} has {counted(count, 'image')}, which leaves {len(parts.train)} to train and 0 to validate on; add "
            "images or change --val-split."
        )
    return parts


def require_labelled(data: Dataset, parts: Split) -> None:
    """Raise a DataError if all pixels to train on, or all to validate on, are ignored; reads as far as the first."""
    if data.ignore_id is None:
        return
    for name, part in (("train", parts.train), ("val", parts.val)):
        if all((data.label(int(index)) == data.ignore_id).all() for index in part):
            raise DataError(unlabelled(data.spec, name, data.ignore_id))


def unlabelled(spec: str, part: str, ignore_id: int | None) -> str:
    """Return the message for a part, or with "" for a data set, of which every pixel is ignored."""
    where = f"the {part} part of {spec}" if part else spec
    return (
        f"No pixel of {where} has a class, all are ignored (label {ignore_id}), expected some pixels of a class; "
        "correct the masks, or what the dataset.json says is ignored."
    )


def part_sizes(count: int, val_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Return how many of `count` samples are for training, validation and test; errors are as in `split`."""
    held_fraction = val_fraction + test_fraction
    if not (0 <= val_fraction < 1 and 0 <= test_fraction < 1 and held_fraction < 1):
        raise DataError(
            f"The fractions {val_fraction:g} (validation) and {test_fraction:g} (test) are not usable, "
            "expected each in [0, 1) and both together below 1; choose others."
        )
    # The small term keeps 10 * (1 - 0.9) = 0.999... from taking one sample too few.
    train = int(count * (1 - held_fraction) + 1e-9)
    if not train:
        raise DataError(
            f"With {counted(count, 'image')} the fractions {val_fraction:g} (validation) and {test_fraction:g} (test) "
            "leave none for training, expected one at least; add images or lower the fractions."
        )
    val = round((count - train) * val_fraction / held_fraction) if held_fraction else 0
    return train, val, count - train - val


def _split(
    count: int, given: Mapping[str, IndexArray], *, val_fraction: float, test_fraction: float, seed: int
) -> Split:
    pool = given.get("train")
    if pool is None:
        taken = np.concatenate([np.empty(0, np.intp), *given.values()])
        pool = np.setdiff1d(np.arange(count, dtype=np.intp), taken)
    if given and not pool.size:
        return Split(pool, given.get("val", pool), given.get("test", pool))
    sizes = part_sizes(len(pool), 0.0 if "val" in given else val_fraction, 0.0 if "test" in given else test_fraction)
    if sizes[0] < len(pool):  # else the pool keeps its own order
        pool = np.random.Generator(np.random.PCG64(seed)).permutation(pool)
    train, val, test = np.split(pool, np.cumsum(sizes[:2]))
    return Split(train, given.get("val", val), given.get("test", test))
