"""What a training needs of a data set's parts; `segtool train` refuses by it, and `segtool data check` foretells it."""

from __future__ import annotations

from collections.abc import Mapping

from segtool.array_types import IndexArray
from segtool.data.base import Dataset
from segtool.data.split import VAL_SPLIT, Split, split_indices
from segtool.errors import DataError
from segtool.text import counted


def training_split(
    count: int,
    given: Mapping[str, IndexArray],
    *,
    spec: str,
    val_fraction: float = VAL_SPLIT,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Split:
    """Split `count` samples for a training.

    Parameters
    ----------
    count
        Number of samples.
    given
        Predefined parts, as in `Dataset.splits`.
    spec
        The data set, for errors.
    val_fraction, test_fraction, seed
        As in `segtool.data.split.split`.

    Raises
    ------
    DataError
        Nothing is left to train or to validate on.
    """
    parts = split_indices(count, given, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
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
    """Refuse data of which no pixel to train on, or none to validate on, has a class; reads as far as the first.

    Raises
    ------
    DataError
        All of those pixels are ignored.
    """
    if data.ignore_id is None:
        return
    for name, part in (("train", parts.train), ("val", parts.val)):
        if all((data.label(int(index)) == data.ignore_id).all() for index in part):
            raise DataError(unlabelled(data.spec, name, data.ignore_id))


def unlabelled(spec: str, part: str, ignore_id: int | None) -> str:
    """Return the sentence on a part, or with "" on a data set, of which every pixel is ignored."""
    where = f"the {part} part of {spec}" if part else spec
    return (
        f"No pixel of {where} has a class, all are ignored (label {ignore_id}), expected some pixels of a class; "
        "correct the masks, or what the dataset.json says is ignored."
    )
