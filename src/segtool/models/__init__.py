"""Opening the models that a user names: Keras files safely, run folders, exported files; all as predictors."""

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
