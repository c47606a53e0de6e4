"""Quantization-aware training: what it begins with, and its options.

The network of a run is folded and trained further, with the rounding of its INT8 file (`segtool.models.quantization`).
`segtool.qat` finds the integers, which takes the exporter; a resumed run has them in its run.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.errors import TrainingError
from segtool.files import sha256_of
from segtool.models.keras_file import load_keras_file
from segtool.models.quantization import QUANTIZATION_NAME, Quantization
from segtool.train.device import read_cluster
from segtool.train.folding import folded
from segtool.train.options import TrainOptions, refuse_with_qat
from segtool.train.run_folder import RunFolder

EPOCHS, RATE_FACTOR = 5, 0.05


@dataclass(frozen=True)
class Start:
    """The network that a quantization-aware training begins with.

    Attributes
    ----------
    run
        The run folder that it is of.
    sha256
        Of its model file.
    model
        keras.Model, folded.
    quantization
        Its integers before the training.
    """

    run: str
    sha256: str
    model: Any
    quantization: Quantization

    def describe(self) -> dict[str, Any]:
        """Return what run.json has of it."""
        return {"run": self.run, "sha256": self.sha256, "quantization": self.quantization.to_dict()}


def open_folded(run: str | Path) -> tuple[Any, str]:
    """Return the folded network of a run, and the SHA-256 of its model file.

    Raises
    ------
    TrainingError
        The run was trained with --qat itself, or TF_CONFIG names other workers.
    """
    if (workers := read_cluster().workers) > 1:
        raise TrainingError(f"--qat trains in one process, and TF_CONFIG names {workers} workers; unset TF_CONFIG.")
    folder = RunFolder(run)
    if (folder.path / QUANTIZATION_NAME).exists():
        raise TrainingError(
            f"{folder.path} was trained with --qat already; give --qat the run that it began with, or continue it with "
            "--resume."
        )
    return folded(load_keras_file(folder.model)), sha256_of(folder.model)


def resume_start(described: Mapping[str, Any]) -> Start:
    """Return what a run began with, from the "qat" of its run.json.

    Raises
    ------
    TrainingError
        The run that it began with has another model now.
    """
    model, sha256 = open_folded(described["run"])
    if sha256 != described["sha256"]:
        raise TrainingError(
            f"The model of {described['run']} differs from the one that this run began with (another SHA-256); restore "
            "the old file, or start a new run."
        )
    return Start(described["run"], sha256, model, Quantization.from_dict(described["quantization"]))


def qat_options(run: str | Path, given: Mapping[str, Any]) -> TrainOptions:
    """Return the options of a quantization-aware training: those of its run, a few epochs, a small learning rate.

    Parameters
    ----------
    run
        The run folder.
    given
        The options that the user gave, under the names of `TrainOptions`; they replace those of the run.

    Raises
    ------
    TrainingError
        The folder is not a run, or an option cannot be combined with --qat.
    """
    refuse_with_qat(given)
    info = RunFolder(run).read_info()
    values = info["recipe_values"]
    own = {
        "epochs": EPOCHS,
        "learning_rate": RATE_FACTOR * values["learning_rate"],
        "schedule": "cosine",
        "patience": None,
        "auxiliary": None,
        "rare_crops": info["config"]["rare_crops"] if info["config"].get("crop") else 0.0,
    }
    config = {key: value for key, value in info["config"].items() if key != "qat"}
    return TrainOptions.from_dict({**config, **own, **given, "precision": "float32", "qat": str(run)})
