"""Splitting a data set into training, validation and test, reproducibly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segtool.array_types import IndexArray
from segtool.data.base import Dataset
from segtool.errors import DataError
from segtool.text import counted

VAL_SPLIT = 0.2
"""Fraction of the images held out for validation, where the data have no validation part and no option says else."""


@dataclass(frozen=True)
class Split:
    """Which samples are for training, validation and test; sample indices, each at most once."""

    train: IndexArray
    val: IndexArray
    test: IndexArray

    def named(self, name: str) -> IndexArray:
        """Return the part called train, val or test, or every sample in order for "all".

        Raises
        ------
        DataError
            There is no such part, or it is empty.
        """
        parts = {"train": self.train, "val": self.val, "test": self.test}
        parts["all"] = np.sort(np.concatenate(list(parts.values())))
        if name not in parts or not parts[name].size:
            filled = [key for key, part in parts.items() if part.size]
            raise DataError(f"The data set has no {name!r} split, it has {', '.join(filled)}; choose one of these.")
        return parts[name]


def split(dataset: Dataset, *, val_fraction: float = VAL_SPLIT, test_fraction: float = 0.0, seed: int) -> Split:
    """Split a data set.

    Predefined parts are used as they are. Without any, all samples are permuted by ``Generator(PCG64(seed))``;
    the first ``int(n * (1 - val_fraction - test_fraction))`` are for training, then come validation and test.
    A predefined training part without a validation (or test) part gives that up in the same way. Where the given
    parts leave nothing for training, that is empty.

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
    return split_indices(
        len(dataset), dataset.splits or {}, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed
    )


def split_indices(
    count: int, given: Mapping[str, IndexArray], *, val_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Split `count` samples with the predefined parts `given`, as `split` does a data set."""
    pool = given.get("train")
    if pool is None:
        taken = np.concatenate([np.empty(0, np.intp), *given.values()])
        pool = np.setdiff1d(np.arange(count, dtype=np.intp), taken)
    if given and not pool.size:
        return Split(pool, given.get("val", pool), given.get("test", pool))
    drawn = _draw(pool, 0.0 if "val" in given else val_fraction, 0.0 if "test" in given else test_fraction, seed)
    return Split(drawn.train, given.get("val", drawn.val), given.get("test", drawn.test))


def part_sizes(count: int, val_fraction: float, test_fraction: float) -> tuple[int, int, int]:
    """Return how many of `count` samples are for training, validation and test.

    Raises
    ------
    DataError
        Fractions out of range, or nothing left for training.
    """
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


def _draw(pool: IndexArray, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """Split `pool`; it keeps its own order where nothing is to be taken from it."""
    train, val, _ = part_sizes(len(pool), val_fraction, test_fraction)
    if train == len(pool):
        return Split(pool, pool[:0], pool[:0])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(pool)
    return Split(order[:train], order[train : train + val], order[train + val :])
