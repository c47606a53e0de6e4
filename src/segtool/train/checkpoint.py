"""The state of a training after an epoch, as one .npz file, written atomically.

It holds all weights, all variables of the optimizer (including the step count that drives the schedule) and the history
as JSON. Nothing in it can run code.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segtool.errors import TrainingError, reason_of
from segtool.files import atomic_path, nan_to_none

_STATE = "state"
_READ_ERRORS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError, SyntaxError,
    NotImplementedError, RecursionError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass
class Progress:
    """What a resume needs besides the weights: the rows of history.csv and the best epoch so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -math.inf

    @property
    def last_is_best(self) -> bool:
        """Whether the last finished epoch is the best so far."""
        return bool(self.rows) and self.best_epoch == self.rows[-1]["epoch"]

    def add(self, row: dict[str, Any], score: float) -> None:
        """Add a finished epoch; a NaN score ranks below all others."""
        self.rows.append(row)
        score = -1.0 if math.isnan(score) else score
        if score > self.best_score:
            self.best_epoch, self.best_score = row["epoch"], score

    def exhausted(self, patience: int) -> bool:
        """Return whether the last `patience` epochs brought no better score; False if `patience` is 0."""
        return bool(patience and self.rows) and self.rows[-1]["epoch"] - self.best_epoch >= patience

    def to_dict(self) -> dict[str, Any]:
        """Return the progress as JSON-serializable values."""
        return dict(nan_to_none(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        """Read what `to_dict` wrote."""
        return cls(list(values["rows"]), int(values["best_epoch"]), float(values["best_score"]))


def save_checkpoint(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write the weights and optimizer of `model` and the progress to `path` atomically."""
    arrays: dict[str, Any] = {
        f"v{index}": np.asarray(variable.numpy()) for index, variable in enumerate(_variables(model))
    }
    arrays[_STATE] = np.frombuffer(json.dumps(progress.to_dict()).encode(), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def load_checkpoint(path: Path, model: keras.Model) -> Progress:
    """Set the weights and optimizer of the compiled `model` from `path`; return the progress saved with them.

    Raises
    ------
    TrainingError
        The file is damaged or belongs to another model.
    """
    try:
        # Open the file here: numpy does not close a file that is not an archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            progress = Progress.from_dict(json.loads(stored[_STATE].tobytes()))
            values = [stored[f"v{index}"] for index in range(len(stored.files) - 1)]
    except _READ_ERRORS as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be read ({reason_of(error)}); start a new run with `segtool train`."
        ) from error
    variables = _variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise TrainingError(
            f"The checkpoint {path} belongs to another network or optimizer; start a new run with `segtool train`."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return progress


def _variables(model: keras.Model) -> list[Any]:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.weights, *model.optimizer.variables]
