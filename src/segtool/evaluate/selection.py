"""Which images models are scored on: never those that one of them was trained on, unless asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segtool.contract import ModelContract
from segtool.data.base import Dataset, Indices
from segtool.data.classes import Classes
from segtool.data.loading import is_generated, load_dataset
from segtool.data.split import VAL_SPLIT, split
from segtool.errors import DataError
from segtool.models.predictor import Predictor
from segtool.models.resolve import RUN_NAME, read_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selection:
    """A data set, the name of a part of it ("train", "val", "test" or "all"), and the part's images."""

    data: Dataset
    part: str
    indices: Indices

    @property
    def names(self) -> list[str]:
        """The names of the images."""
        return [self.data.sample_names[index] for index in self.indices]


def select(predictors: Sequence[Predictor], *, data: str | None, part: str | None) -> Selection:
    """Return the images that all of some models are scored on.

    On the data that a model was trained on the parts are those of its training; otherwise an evaluation on "val"
    would score images that were trained on.

    Parameters
    ----------
    data
        A data set's spec; None for that of the run that the models lie in.
    part
        "train", "val", "test" or "all"; None for "val" of the data that a model was trained on and of files that come
        in parts, else "all".

    Raises
    ------
    DataError
        There is no data or no such part, or the models were trained on different parts of the same data.
    """
    spec = data or spec_of_runs(predictors)
    divisions = _distinct([predictor.contract.split for predictor in predictors])
    classes = classes_of(predictors[0].contract)
    loaded = [(division, load_dataset(spec, **division, classes=classes)) for division in divisions]
    owners = []
    for division, dataset in loaded:
        own = any(
            predictor.contract.split == division and predictor.contract.data_fingerprint == dataset.fingerprint()
            for predictor in predictors
        )
        if own and division:
            owners.append((division, dataset))
    if not owners:
        return _selected(loaded[0][1], part, {})
    selections = [_selected(dataset, part, division) for division, dataset in owners]
    for other in selections[1:]:
        _refuse_other_images(selections[0], other, spec)
    return selections[0]


def classes_of(contract: ModelContract) -> Classes | None:
    """Return a model's classes, for data that do not name their own; None where no data set could have them."""
    try:
        return Classes(contract.class_names, contract.background_id, contract.ignore_id)
    except DataError:
        return None


def refuse_other_classes(contract: ModelContract, data: Dataset) -> None:
    """Refuse data with another number of classes or channels than the model's; warn where only the names differ."""
    if contract.num_classes != data.num_classes or contract.channels != data.channels:
        raise DataError(
            f"The model has {contract.num_classes} classes and {contract.channels} channels, {data.spec} has "
            f"{data.num_classes} and {data.channels}; evaluate on data of the kind that the model was trained on."
        )
    if (contract.class_names, contract.background_id) != (data.class_names, data.background_id):
        logger.warning(
            "The model's classes are %s (background %s), those of %s are %s (background %s): they are compared by "
            "their ids, under the data's names.",
            ", ".join(contract.class_names),
            contract.background_id,
            data.spec,
            ", ".join(data.class_names),
            data.background_id,
        )


def spec_of_runs(predictors: Sequence[Predictor]) -> str:
    """Return the data that the runs of the models name."""
    folders = [predictor.path.parent for predictor in predictors if (predictor.path.parent / RUN_NAME).is_file()]
    specs = {str(read_run(folder).data["spec"]) for folder in folders}
    if not specs:
        raise DataError(
            f"{predictors[0].path} does not lie in a run folder, so there is no data to score it on; pass --data SPEC."
        )
    if len(specs) > 1:
        raise DataError(
            f"The models' runs were trained on different data ({', '.join(sorted(specs))}); pass --data SPEC to say "
            "what to compare them on."
        )
    return specs.pop()


def _distinct(divisions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for division in divisions:
        if dict(division) not in found:
            found.append(dict(division))
    return found


def _selected(data: Dataset, part: str | None, division: Mapping[str, Any]) -> Selection:
    """Return a part of the data by a training's division of it; an empty one where no model was trained on it."""
    # Generated data come in parts for a training's sake: to a model that was not trained on them all are new.
    given = data.splits and not is_generated(data.spec)
    part = part or ("val" if division or given else "all")
    if part == "all":
        return Selection(data, part, np.arange(len(data)))
    parts = split(
        data,
        val_fraction=division.get("val_split", VAL_SPLIT),
        test_fraction=division.get("test_split", 0.0),
        seed=division.get("seed", 0),
    )
    return Selection(data, part, parts.named(part))


def _refuse_other_images(first: Selection, other: Selection, spec: str) -> None:
    same = first.data.fingerprint() == other.data.fingerprint() and first.part == other.part
    if not same or not np.array_equal(np.sort(first.indices), np.sort(other.indices)):
        raise DataError(
            f"The models were trained on different parts of {spec}, so the {first.part} images of one are training "
            "images of another; compare them on other data (--data), or pass --split all and mind that."
        )
