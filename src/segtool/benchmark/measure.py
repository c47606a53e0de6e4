"""Measure exported models on this machine, for `segtool benchmark`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.cold_start import measure_cold_start
from segtool.benchmark.latency import Length, measure_latency
from segtool.benchmark.regression import QUANTITIES, compare, read_benchmark, require_comparable
from segtool.benchmark.target import BenchmarkCase, Target
from segtool.benchmark.throughput import measure_throughput
from segtool.data.loading import load_dataset
from segtool.errors import DataError, ModelFileError, ProviderError
from segtool.evaluate.evaluate import EvaluateOptions, evaluate
from segtool.evaluate.selection import classes_of
from segtool.machine.machine import load_average, machine_info
from segtool.machine.processors import environment_threads
from segtool.models.resolve import INT8_NAME, LATEST, ONNX_NAME
from segtool.models.shipped import default_model
from segtool.runtime.providers import sets_threads
from segtool.runtime.segmenter import Segmenter

Mode = Literal["latency", "throughput", "both"]
Progress = Callable[[str, float, float], None]

IMAGES = 64  # number of different images: enough for variation, few enough for the memory


@dataclass(frozen=True)
class MeasureOptions:
    """Options of a benchmark; see `segtool.benchmark.latency.Length` for `seconds` (10 by default), `runs`, `warmup`.

    `provider` is one name, or several separated by commas. Without `threads`, the provider's own options,
    OMP_NUM_THREADS or 1 apply, in this order. `samples` keeps the time of each run. `compare` is the JSON file of an
    earlier benchmark.
    """

    data: str | None = None
    provider: str = "auto"
    threads: tuple[int, ...] = ()
    batch: tuple[int, ...] = (1,)
    mode: Mode = "latency"
    seconds: float | None = None
    runs: int | None = None
    warmup: int | None = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    samples: bool = False
    compare: Path | None = None
    compare_anyway: bool = False

    @property
    def length(self) -> Length:
        """The length of the measurement."""
        return Length(self.seconds or Length.seconds, self.runs, self.warmup)


def measure(models: Sequence[Path], *, options: MeasureOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Measure models in all combinations of provider, threads and batch, interleaved in one run.

    Parameters
    ----------
    models
        .onnx files; if empty, those of the latest run, or the model that ships with segtool.
    options
        The options.
    progress
        Called with (phase, done, total); the phases are latency, throughput and cold start.

    Returns
    -------
    dict
        "models": one entry for each case with its description, the figures of
        `segtool.benchmark.latency.measure_latency` and `segtool.benchmark.cold_start.measure_cold_start`, under
        "throughput" those of `segtool.benchmark.throughput.measure_throughput` (its median is then the
        `throughput_ips`), and "accuracy" if data was given. "warmup", "noise" and "ranking" of the latencies, if
        measured; "comparison", if requested; "machine": the machine and its state at the start.

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, or the models have different input sizes.
    """
    machine, length = machine_info(), options.length
    old = None if options.compare is None else read_benchmark(options.compare)
    paths, providers = list(models) or _latest_models(), _providers(options)
    targets = [
        BenchmarkCase(path, name, threads, batch, options.provider_options).open()
        for path, name, threads, batch in product(paths, providers, _threads(options), options.batch)
    ]
    if old is not None:
        planned = [target.describe() for target in targets]
        quantities = QUANTITIES if options.mode == "both" else (options.mode,)
        require_comparable(old, machine, planned, quantities=quantities, anyway=options.compare_anyway)
    images = _images([target.segmenter for target in targets], options.data)
    result = _measure_speed(targets, images, options, progress or (lambda *_: None))
    if options.data is not None:
        accuracy = {str(path): _accuracy(path, options, options.data) for path in paths}
        result["models"] = [{**row, "accuracy": accuracy[row["path"]]} for row in result["models"]]
    result |= {"machine": machine, "load_average_at_end": load_average()}
    result |= {"data": options.data, "mode": options.mode, "seconds": length.seconds, "runs": length.runs}
    if old is not None:
        result["comparison"] = {"with": str(options.compare), **compare(result, old, anyway=options.compare_anyway)}
    return result


def _measure_speed(
    targets: Sequence[Target], images: UInt8Array, options: MeasureOptions, progress: Progress
) -> dict[str, Any]:
    """Measure latency, throughput or both, and the cold start; one entry of "models" for each case."""
    result: dict[str, Any] = {"warmup": None, "noise": None, "ranking": None}
    rows = [target.describe() for target in targets]
    if options.mode != "throughput":
        report = partial(progress, "latency")
        result = measure_latency(
            targets, images=images, length=options.length, samples=options.samples, progress=report
        )
        rows = result["models"]
    if options.mode != "latency":
        report = partial(progress, "throughput")
        found = measure_throughput(targets, images=images, length=options.length, progress=report)
        rows = [
            {**row, "throughput": entry, "throughput_ips": entry["images_per_second"]["median"]}
            for row, entry in zip(rows, found, strict=True)
        ]
    for number, target in enumerate(targets):
        progress("cold start", number, len(targets))
        rows[number] |= measure_cold_start(target.case, threads=target.segmenter.threads)
    return {**result, "models": rows}


def _providers(options: MeasureOptions) -> list[str]:
    """Return the names of the providers without duplicates."""
    names = list(dict.fromkeys(name.strip() for name in options.provider.split(",")))
    if len(names) > 1 and options.provider_options:
        raise ProviderError(
            f"Options ({', '.join(options.provider_options)}) were given for {len(names)} providers, but they apply "
            "to one provider; measure this provider alone."
        )
    return names


def _threads(options: MeasureOptions) -> tuple[int | None, ...]:
    """Return the numbers of threads to measure; None if the provider's own options set it."""
    if options.threads:
        return options.threads
    return (None,) if sets_threads(options.provider_options) else (environment_threads() or 1,)


def _latest_models() -> list[Path]:
    """Return the exported models of the latest run, FP32 first; without a run, the shipped model."""
    found = [LATEST / name for name in (ONNX_NAME, INT8_NAME) if (LATEST / name).is_file()]
    return found or [default_model()]


def _images(segmenters: Sequence[Segmenter], spec: str | None) -> UInt8Array:
    """Return uint8 (N, H, W, C) images of the common input size of all models."""
    shapes = {(each.contract.height, each.contract.width, each.contract.channels) for each in segmenters}
    if len(shapes) > 1:
        raise ModelFileError(
            f"The models have different input shapes ({sorted(shapes)}), so their times are not comparable; "
            "benchmark each model alone."
        )
    if spec is None:
        return segmenters[0].golden().images
    data = load_dataset(spec, classes=classes_of(segmenters[0].contract))
    height, width, channels = shapes.pop()
    if data.channels != channels:
        raise DataError(
            f"The model needs {channels} channels, but {spec} has {data.channels}; pass data with {channels} channels."
        )
    return data.arrays(np.arange(min(IMAGES, len(data))), size=(height, width))[0]


def _accuracy(path: Path, options: MeasureOptions, spec: str) -> dict[str, Any]:
    """Return the figures on the part of the data that `evaluate` scores, never on training images."""
    settings = EvaluateOptions(data=spec, provider=_providers(options)[0], provider_options=options.provider_options)
    scores = evaluate(path, options=settings).to_dict()
    kept = ("split", "images", "pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
    return {key: scores[key] for key in kept}
