"""One export: what all its steps need, and the measurement that both files share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract import ModelContract
from segtool.evaluate.scoring import evaluate_labels
from segtool.export.data import ExportData
from segtool.export.network.opening import Network
from segtool.export.options import ExportOptions
from segtool.export.presets import Preset
from segtool.export.running import as_labels, labels_of
from segtool.export.stages import Progress, Stages, silent
from segtool.export.trained import Trained
from segtool.files import nan_to_none
from segtool.images.pixels import ArrayPixels
from segtool.runtime.postprocess import label

_KEPT_PIXELS = 1 << 24  # whose labels are kept: 16 MB, or 32 above 256 classes


@dataclass(frozen=True)
class Job:
    """An export that can begin: everything that could be refused before the conversion is checked.

    Attributes
    ----------
    options
        As requested.
    network
        At the size of the file.
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
    trained
        The network with the scales that were trained with it; None for scales by calibration.
    """

    options: ExportOptions
    network: Network
    contract: ModelContract
    data: ExportData
    preset: Preset
    target: Path
    int8_target: Path | None
    folder: Path
    progress: Stages = silent
    warned: tuple[str, ...] = ()
    trained: Trained | None = None

    def stage(self, name: str) -> Progress:
        """Begin a stage, and return what it reports its progress to."""
        self.progress(name, 0, 0)
        return lambda done, total: self.progress(name, done, total)


class FirstLabels:
    """The labels that a model gives while it is measured, of the first images, to compare another model's with.

    No image is run again for that: both models see the same images, or tiles of them, in the same order.
    """

    def __init__(self) -> None:
        self._kept: list[AnyArray] = []
        self._same = self._pixels = 0

    def keep(self, run: Callable[[UInt8Array], AnyArray], dtype: np.dtype[Any]) -> Callable[[UInt8Array], AnyArray]:
        """Return `run`, whose labels, as `dtype`, are kept while there are fewer pixels than `_KEPT_PIXELS`."""

        def kept(images: UInt8Array) -> AnyArray:
            found = run(images)
            if sum(labels.size for labels in self._kept) < _KEPT_PIXELS:
                self._kept.append(labels_of(found).astype(dtype))
            return found

        return kept

    def compare(self, run: Callable[[UInt8Array], AnyArray]) -> Callable[[UInt8Array], AnyArray]:
        """Return `run`, whose labels are compared with those that were kept; `agreement` is then of these."""
        expected = iter(self._kept)
        self._same = self._pixels = 0

        def compared(images: UInt8Array) -> AnyArray:
            found = run(images)
            wanted = next(expected, None)
            if wanted is not None:
                self._same += int(np.count_nonzero(labels_of(found) == wanted))
                self._pixels += wanted.size
            return found

        return compared

    @property
    def agreement(self) -> float:
        """Fraction of the pixels, 0..1, with the same label; NaN where nothing was compared."""
        return self._same / self._pixels if self._pixels else math.nan


def measure(run: Callable[[UInt8Array], AnyArray], job: Job, *, stage: str) -> tuple[float, dict[str, Any]]:
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
        size=contract.size,
        whole=_by_tiles(run, contract) if contract.size_policy == "tile" else None,
        progress=job.stage(stage),
    )
    figures = {key: value for key, value in scores.to_dict().items() if key != "confusion_matrix"}
    return scores.foreground_mean_iou, nan_to_none({**figures, "data": job.data.dataset.name, "split": "val"})


def _by_tiles(run: Callable[[UInt8Array], AnyArray], contract: ModelContract) -> Callable[[UInt8Array], AnyArray]:
    return lambda image: label(ArrayPixels(image), contract, run, "auto")
