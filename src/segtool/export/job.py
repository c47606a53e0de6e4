"""One export: what all its steps need, and the measurement that both files share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtool.contract import ModelContract
from segtool.evaluate.scoring import evaluate_labels
from segtool.export.data import ExportData, images_at_once
from segtool.export.options import ExportOptions
from segtool.export.presets import Preset
from segtool.export.running import as_labels
from segtool.export.stages import Progress, Stages, silent
from segtool.files import nan_to_none
from segtool.images.arrays import Array, UInt8Array
from segtool.images.pixels import ArrayPixels
from segtool.runtime.postprocess import label


@dataclass(frozen=True)
class Job:
    """An export that can begin: everything that could be refused before the conversion is checked.

    Attributes
    ----------
    options
        As requested.
    model
        keras.Model, at the size of the file.
    contract
        Of the file, without what the steps measure: gates, metrics, quantization.
    data
        The images for calibration and gates.
    preset
        The integers of INT8.
    target, int8_target
        The files to write; `int8_target` is None without quantization.
    folder
        A private folder for graphs that run before they are published.
    progress
        Called with the name of each stage and (done, total) of what it counts.
    warned
        Warnings that were logged before the conversion.
    """

    options: ExportOptions
    model: Any
    contract: ModelContract
    data: ExportData
    preset: Preset
    target: Path
    int8_target: Path | None
    folder: Path
    progress: Stages = silent
    warned: tuple[str, ...] = ()

    def stage(self, name: str) -> Progress:
        """Begin a stage, and return what it reports its progress to."""
        self.progress(name, 0, 0)
        return lambda done, total: self.progress(name, done, total)


def measure(run: Callable[[UInt8Array], Array], job: Job, *, stage: str) -> tuple[float, dict[str, Any]]:
    """Return the foreground mean IoU on the validation split and the figures to record; (NaN, {}) without one.

    Images are resized or tiled as the contract says, so the figures are those of `predict` on the device.

    Parameters
    ----------
    run
        From uint8 (N, H, W, C) to the output of a file.
    stage
        What this is called in the progress.
    """
    contract, indices = job.contract, job.data.split.val
    if not indices.size:
        return math.nan, {}
    scores = evaluate_labels(
        as_labels(run, contract.label_dtype),
        job.data.dataset,
        indices,
        size=(contract.height, contract.width),
        batch=images_at_once(contract, most=32),
        whole=_by_tiles(run, contract) if contract.size_policy == "tile" else None,
        progress=job.stage(stage),
    )
    figures = {key: value for key, value in scores.to_dict().items() if key != "confusion_matrix"}
    return scores.foreground_mean_iou, nan_to_none({**figures, "data": job.data.dataset.name, "split": "val"})


def _by_tiles(run: Callable[[UInt8Array], Array], contract: ModelContract) -> Callable[[UInt8Array], Array]:
    return lambda image: label(ArrayPixels(image), contract, run, "auto")
