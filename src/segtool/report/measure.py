"""Measuring exported models on this machine: what `segtool benchmark` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.loading import load_dataset
from segtool.errors import DataError, ModelFileError
from segtool.models.resolve import INT8_NAME, LATEST, ONNX_NAME, latest_exported
from segtool.report.evaluate import EvaluateOptions, evaluate
from segtool.runtime.latency import BenchmarkCase, benchmark, machine_info
from segtool.runtime.processors import environment_threads
from segtool.runtime.providers import sets_threads
from segtool.runtime.segmenter import Segmenter, load

IMAGES = 64  # different images to time on: enough to vary, few enough to stay in memory


@dataclass(frozen=True)
class MeasureOptions:
    """What to measure on, and how; see `segtool.runtime.latency.benchmark`.

    No `threads` are those of the provider's own options, else OMP_NUM_THREADS, else 1.
    """

    data: str | None = None
    provider: str = "auto"
    threads: tuple[int, ...] = ()
    batch: tuple[int, ...] = (1,)
    runs: int = 200
    warmup: int = 20
    provider_options: Mapping[str, str] = field(default_factory=dict)


def measure(
    models: Sequence[Path], *, options: MeasureOptions, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Measure models in every combination of threads and batch, interleaved in one run.

    Parameters
    ----------
    models
        .onnx files; none for those of the latest run.
    options
        On what, and how often.
    progress
        Called with (runs done, runs in all).

    Returns
    -------
    dict
        "models": one entry a case, as in `segtool.runtime.latency.benchmark`, with "accuracy" where data was given;
        "machine": what it was measured on.

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, or the models take images of different sizes.
    """
    paths = list(models) or _latest_models()
    segmenters = [load(path, provider=options.provider, provider_options=options.provider_options) for path in paths]
    images = _images(segmenters, options.data)
    cases = [
        BenchmarkCase(path, options.provider, threads, batch, options.provider_options)
        for path, threads, batch in product(paths, _threads(options), options.batch)
    ]
    rows = benchmark(cases, images=images, runs=options.runs, warmup=options.warmup, progress=progress)
    if options.data is not None:
        accuracy = {str(path): _accuracy(path, options, options.data) for path in paths}
        rows = [{**row, "accuracy": accuracy[str(row["path"])]} for row in rows]
    return {"models": rows, "machine": machine_info(), "data": options.data, "runs": options.runs}


def _threads(options: MeasureOptions) -> tuple[int | None, ...]:
    """Return the numbers of threads to measure; None where the provider's own options say it."""
    if options.threads:
        return options.threads
    return (None,) if sets_threads(options.provider_options) else (environment_threads() or 1,)


def _latest_models() -> list[Path]:
    """Return the exported models of the latest run, FP32 first."""
    found = [LATEST / name for name in (ONNX_NAME, INT8_NAME) if (LATEST / name).is_file()]
    return found or [latest_exported()]


def _images(segmenters: Sequence[Segmenter], spec: str | None) -> npt.NDArray[np.uint8]:
    """Return uint8 (N, H, W, C) images of the size that all models take."""
    shapes = {(each.contract.height, each.contract.width, each.contract.channels) for each in segmenters}
    if len(shapes) > 1:
        raise ModelFileError(
            f"The models take images of different shapes ({sorted(shapes)}), so their times do not compare; "
            "benchmark them one after the other."
        )
    if spec is None:
        return segmenters[0].golden().images
    data = load_dataset(spec)
    height, width, channels = shapes.pop()
    if data.channels != channels:
        raise DataError(
            f"The model takes {channels} channels and {spec} has {data.channels}; pass data of the model's kind."
        )
    return data.arrays(np.arange(min(IMAGES, len(data))), size=(height, width))[0]


def _accuracy(path: Path, options: MeasureOptions, spec: str) -> dict[str, Any]:
    """Return the figures on the part of the data that `evaluate` scores: never on what the model was trained on."""
    settings = EvaluateOptions(data=spec, provider=options.provider, provider_options=options.provider_options)
    scores = evaluate(path, options=settings).to_dict()
    kept = ("split", "images", "pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
    return {key: scores[key] for key in kept}
