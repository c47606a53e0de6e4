"""What the steps of an export share: the job, a published file, and measuring, proving and naming one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract import GoldenPair, ModelContract
from segtool.evaluate.scoring import evaluate_labels
from segtool.export import gates
from segtool.export.data import ExportData, images_at_once
from segtool.export.options import ExportOptions
from segtool.export.runners import as_labels, onnx_runner
from segtool.export.stamp import golden_images, with_metadata
from segtool.export.verdict import as_stored
from segtool.files import nan_to_none, write_bytes
from segtool.images.pixels import ArrayPixels
from segtool.runtime.model_file import sealed
from segtool.runtime.postprocess import label

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """What every step needs: the options, the data, a private folder, and the progress callback."""

    options: ExportOptions
    data: ExportData
    folder: Path
    progress: Progress | None


@dataclass(frozen=True)
class Made:
    """A published file.

    Attributes
    ----------
    base
        Its graph before the rewrites that pay in float alone: what INT8 is made from.
    contract
        As published.
    score
        Foreground mean IoU, NaN where not measured.
    run
        Images to its output.
    digest
        SHA-256 of the file.
    warned
        Warnings that were logged.
    """

    base: onnx.ModelProto
    contract: ModelContract
    score: float
    run: Callable[[UInt8Array], AnyArray]
    digest: str
    warned: tuple[str, ...] = ()


def measure(run: Callable[[UInt8Array], AnyArray], job: Job, contract: ModelContract) -> tuple[float, dict[str, Any]]:
    """Return the foreground mean IoU on the validation split and the figures to record; (NaN, {}) without one.

    Images are resized or tiled as the contract says, so the figures are those of `predict` on the device.
    """
    indices = job.data.split.val
    if not indices.size:
        return math.nan, {}
    size = (contract.height, contract.width)
    scores = evaluate_labels(
        as_labels(run, contract.label_dtype),
        job.data.dataset,
        indices,
        size=size,
        batch=images_at_once(contract, most=32),
        whole=_by_tiles(run, contract) if contract.size_policy == "tile" else None,
        progress=job.progress,
    )
    figures = {key: value for key, value in scores.to_dict().items() if key != "confusion_matrix"}
    return scores.foreground_mean_iou, nan_to_none({**figures, "data": job.data.dataset.name, "split": "val"})


def _by_tiles(run: Callable[[UInt8Array], AnyArray], contract: ModelContract) -> Callable[[UInt8Array], AnyArray]:
    return lambda image: label(ArrayPixels(image), contract, run, "auto")


def publish(
    graph: onnx.ModelProto, contract: ModelContract, job: Job, target: Path, labels: Callable[[UInt8Array], AnyArray]
) -> str:
    """Add the contract and the golden pair, prove the finished bytes on it, name them, and return their SHA-256."""
    images = golden_images(job.data, contract)
    golden = GoldenPair(images, labels(images))
    data = sealed(with_metadata(graph, as_stored(contract), golden).SerializeToString())
    finished = job.folder / "finished.onnx"
    finished.write_bytes(data)
    run, _ = onnx_runner(finished)
    gates.check_golden(contract, expected=golden.labels, found=as_labels(run, contract.label_dtype)(images))
    write_bytes(target, data)
    return hashlib.sha256(data).hexdigest()


def save(graph: onnx.ModelProto, path: Path) -> Path:
    """Write a graph to a private file and return its path."""
    onnx.save(graph, path)
    return path
