"""The state of a training after an epoch, as one .npz file, written atomically.

It holds all weights, all variables of the optimizer (including the step count that drives the schedule) and the history
as JSON. Nothing in it can run code.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from segtool.errors import TrainingError
from segtool.files import atomic_path

_STATE = "state"
_READ_ERRORS = (
    OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError, SyntaxError,
    NotImplementedError, RecursionError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_checkpoint(path: Path, model: keras.Model, state: Mapping[str, Any]) -> None:
    """Write the weights and optimizer of `model` and the JSON-serializable `state` to `path` atomically."""
    arrays: dict[str, Any] = {
        f"v{index}": np.asarray(variable.numpy()) for index, variable in enumerate(_variables(model))
    }
    arrays[_STATE] = np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def load_checkpoint(path: Path, model: keras.Model) -> dict[str, Any]:
    """Set the weights and optimizer of the compiled `model` from `path`; return the state saved with them.

    Raises
    ------
    TrainingError
        The file is damaged or belongs to another model.
    """
    try:
        # Open the file here: numpy does not close a file that is not an archive.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            state: dict[str, Any] = json.loads(stored[_STATE].tobytes())
            values = [stored[f"v{index}"] for index in range(len(stored.files) - 1)]
    except _READ_ERRORS as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be read ({error}); start a new run with `segtool train`."
        ) from error
    variables = _variables(model)
    if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
        raise TrainingError(
            f"The checkpoint {path} belongs to another network or optimizer; start a new run with `segtool train`."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state


def _variables(model: keras.Model) -> list[Any]:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.weights, *model.optimizer.variables]
