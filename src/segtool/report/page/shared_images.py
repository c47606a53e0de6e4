"""The images that the models of a report are scored on; with `data` they are the same for all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from segtool.contract import ModelContract
from segtool.data.split import VAL_SPLIT, Split, split
from segtool.evaluate.selection import Selection, select
from segtool.models.predictor import Predictor


def select_images(
    predictors: Sequence[Predictor], *, data: str | None, part: str | None
) -> tuple[list[Selection], str]:
    """Return the images that each model is scored on, and a note if the trainings of the models split them differently.

    Without `data` each model is scored on the data of its own run. With `data` all models are scored on the same
    images: those that are in the part for every model that was trained on these data. If there are none, the split of
    one model decides.

    Raises
    ------
    DataError
        The data or the part does not exist.
    """
    own = _own(predictors, data=data, part=part)
    if data is None:
        return own, ""
    trained = [place for place, each in enumerate(own) if _is_own(predictors[place].contract, each)]
    first = trained[0] if trained else 0
    shared = _common([own[place] for place in trained]) or own[first]
    if all(same_images(shared, each) for each in own):
        return [shared] * len(own), ""
    if len(trained) > 1 and not same_images(shared, own[first]):
        rule = "which are in this part for each model that was trained on the data"
    else:
        rule = f"as split for {predictors[first].path}"
    images = f"{len(shared.indices)} images of {data}, part {shared.part}"
    return [shared] * len(own), f"The models use different splits of the data; all are scored on {images}, {rule}."


def same_images(first: Selection, second: Selection) -> bool:
    """Return whether two selections are the same images of the same data."""
    same_data = first.data is second.data or first.data.fingerprint() == second.data.fingerprint()
    return same_data and np.array_equal(np.sort(first.indices), np.sort(second.indices))


def training_facts(contract: ModelContract, selection: Selection) -> dict[str, Any]:
    """Return whether a model was trained on the images that it is scored on.

    ``own_data`` is whether the data are its training data. ``own_part`` is whether the images are a part of its own
    split of them. ``trained_on`` is the number of images that were in its training, None if unknown.
    """
    own, data = _is_own(contract, selection), selection.data
    known = contract.split or {"train", "val"} <= (data.splits or {}).keys()
    if not own or not known:
        return {"own_data": own, "own_part": own, "trained_on": None}
    parts = split(
        data,
        val_fraction=contract.split.get("val_split", VAL_SPLIT),
        test_fraction=contract.split.get("test_split", 0.0),
        seed=contract.split.get("seed", 0),
    )
    trained_on = int(np.isin(selection.indices, parts.train).sum())
    return {"own_data": True, "own_part": _is_part(selection, parts), "trained_on": trained_on}


def _own(predictors: Sequence[Predictor], *, data: str | None, part: str | None) -> list[Selection]:
    """Return the images of each model by its own split; models of one run share them."""
    found: dict[str, Selection] = {}
    keys = [repr((each.path.parent, each.contract.split, each.contract.data_fingerprint)) for each in predictors]
    for key, predictor in zip(keys, predictors, strict=True):
        if key not in found:
            found[key] = select([predictor], data=data, part=part)
    return [found[key] for key in keys]


def _common(selections: Sequence[Selection]) -> Selection | None:
    """Return the images that several selections of the same data have in common; None if there are none."""
    if not selections or len({each.data.fingerprint() for each in selections}) > 1:
        return None
    first = selections[0]
    inside = np.all([np.isin(first.indices, each.indices) for each in selections], axis=0)
    return Selection(first.data, first.part, first.indices[inside]) if inside.any() else None


def _is_own(contract: ModelContract, selection: Selection) -> bool:
    return bool(contract.data_fingerprint) and contract.data_fingerprint == selection.data.fingerprint()


def _is_part(selection: Selection, parts: Split) -> bool:
    if selection.part == "all":
        return True
    return np.array_equal(np.sort(selection.indices), np.sort(getattr(parts, selection.part)))
