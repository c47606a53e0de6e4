"""The choice of the images that models are scored on: by default none that a model was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import IndexArray
from segtool.contract import ModelContract
from segtool.data.base import Dataset
from segtool.data.classes import Classes
from segtool.data.loading import is_generated, load_dataset
from segtool.data.split import VAL_SPLIT, Split, split
from segtool.errors import DataError
from segtool.models.predictor import Predictor
from segtool.models.resolve import RUN_NAME, read_run
from segtool.text import counted, listed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selection:
    """A data set, the name of one of its parts ("train", "val", "test" or "all"), and the images of the part."""

    data: Dataset
    part: str
    indices: IndexArray

    @property
    def names(self) -> list[str]:
        """The names of the images."""
        return [self.data.sample_names[index] for index in self.indices]

    def same_images(self, other: Selection) -> bool:
        """Return whether another selection has the same images of the same data, in any order."""
        same_data = self.data is other.data or self.data.fingerprint() == other.data.fingerprint()
        return same_data and np.array_equal(np.sort(self.indices), np.sort(other.indices))


def select(predictors: Sequence[Predictor], *, data: str | None, part: str | None) -> Selection:
    """Return the images that all models are scored on.

    For the training data of a model, the parts are those of its training. With other parts, "val" could contain
    training images.

    Parameters
    ----------
    data
        The spec of a data set; None for the data of the models' run.
    part
        "train", "val", "test" or "all". None means "val" for the training data of a model and for data with given
        parts, else "all".

    Raises
    ------
    DataError
        The data or the part does not exist, or the models were trained on different parts of the same data.
    """
    spec = data or spec_of_runs([predictor.path for predictor in predictors])
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


def parts_of(data: Dataset, division: Mapping[str, Any]) -> Split:
    """Return the parts of a data set, split as the contract or the run of a model says."""
    return split(
        data,
        val_fraction=division.get("val_split", VAL_SPLIT),
        test_fraction=division.get("test_split", 0.0),
        seed=division.get("seed", 0),
    )


def classes_of(contract: ModelContract) -> Classes | None:
    """Return the classes of a model, for data without class names; None if they are not valid for a data set."""
    try:
        return Classes(contract.class_names, contract.background_id, contract.ignore_id)
    except DataError:
        return None


def refuse_other_classes(contract: ModelContract, data: Dataset) -> None:
    """Refuse data whose number of classes or channels differs from the model's; warn if only the names differ."""
    if contract.num_classes != data.num_classes or contract.channels != data.channels:
        advice = "evaluate on data with those of the model"
        if contract.num_classes == data.num_classes and Path(data.spec).is_dir():
            advice = (
                f'write "channels": {contract.channels} into its dataset.json, which converts the images '
                f"(`segtool data describe {data.spec}` makes that file)"
            )
        raise DataError(
            f"The model has {contract.num_classes} classes and {counted(contract.channels, 'channel')}, {data.spec} "
            f"has {data.num_classes} and {data.channels}; {advice}."
        )
    if (contract.class_names, contract.background_id) != (data.class_names, data.background_id):
        logger.warning(
            "The model's classes are %s (background %s); those of %s are %s (background %s). They are compared by id, "
            "under the names of the data.",
            listed(contract.class_names),
            contract.background_id,
            data.spec,
            listed(data.class_names),
            data.background_id,
        )


def spec_of_runs(models: Sequence[Path]) -> str:
    """Return the spec of the training data of the runs that model files are in."""
    folders = [path.parent for path in models if (path.parent / RUN_NAME).is_file()]
    specs = {str(read_run(folder).data["spec"]) for folder in folders}
    if not specs:
        raise DataError(f"{models[0]} is not in a run folder, so there is no data to score it on; pass --data SPEC.")
    if len(specs) > 1:
        raise DataError(
            f"The runs of the models were trained on different data ({', '.join(sorted(specs))}); pass --data SPEC to "
            "choose the data for the comparison."
        )
    return specs.pop()


def _distinct(divisions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for division in divisions:
        if dict(division) not in found:
            found.append(dict(division))
    return found


def _selected(data: Dataset, part: str | None, division: Mapping[str, Any]) -> Selection:
    """Return a part of the data, split as in a training; `division` is empty if no model was trained on the data."""
    # The parts of generated data exist for training only: for a model trained on other data, all images are new.
    given = data.splits and not is_generated(data.spec)
    part = part or ("val" if division or given else "all")
    if part == "all":
        return Selection(data, part, np.arange(len(data)))
    return Selection(data, part, parts_of(data, division).named(part))


def _refuse_other_images(first: Selection, other: Selection, spec: str) -> None:
    if first.part != other.part or not first.same_images(other):
        raise DataError(
            f"The models were trained on different parts of {spec}, so the {first.part} images of one are training "
            "images of another; compare them on other data (--data), or accept this with --split all."
        )
