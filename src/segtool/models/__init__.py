"""Opening the models that a user names as predictors: run folders, Keras files (safely) and exported files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtool.models.keras_file import load_keras_file
    from segtool.models.predictor import Predictor, open_predictor
    from segtool.models.resolve import ModelSource, Run, find_model, latest_exported, read_run

__all__ = [
    "ModelSource",
    "Predictor",
    "Run",
    "find_model",
    "latest_exported",
    "load_keras_file",
    "open_predictor",
    "read_run",
]

# Imported at first use, because `segtool predict` needs only a part of these modules.
_LAZY = {
    "ModelSource": "resolve",
    "Predictor": "predictor",
    "Run": "resolve",
    "find_model": "resolve",
    "latest_exported": "resolve",
    "load_keras_file": "keras_file",
    "open_predictor": "predictor",
    "read_run": "resolve",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'segtool.models' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"segtool.models.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
