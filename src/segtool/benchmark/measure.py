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
from segtool.benchmark.case import BenchmarkCase
from segtool.benchmark.cold_start import measure_cold_start
from segtool.benchmark.latency import Length, measure_latency
from segtool.benchmark.regression import QUANTITIES, compare, read_benchmark, require_comparable
from segtool.benchmark.throughput import measure_throughput
from segtool.data.loading import load_dataset
from segtool.errors import ModelFileError, ProviderError
from segtool.evaluate.evaluate import EvaluateOptions, evaluate
from segtool.evaluate.selection import classes_of
from segtool.machine.machine import load_average, machine_info
from segtool.machine.processors import environment_threads
from segtool.models.resolve import LATEST, exported_files
from segtool.models.shipped import default_model
from segtool.runtime.providers import sets_threads

Mode = Literal["latency", "throughput", "both"]
Progress = Callable[[str, float, float], None]

IMAGES = 64  # number of different images: enough for variation, few enough for the memory


@dataclass(frozen=True)
class MeasureOptions:
    """What to measure, and for how long: `seconds` (10 by default) or `runs`, see `segtool.benchmark.latency.Length`.

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

    @property
    def length(self) -> Length:
        """The length of the measurement."""
        return Length(self.seconds or Length.seconds, self.runs, self.warmup)

    @property
    def providers(self) -> list[str]:
        """The names of the providers without duplicates; ProviderError if options are given for several."""
        names = list(dict.fromkeys(name.strip() for name in self.provider.split(",")))
        if len(names) > 1 and self.provider_options:
            raise ProviderError(
                f"Options ({', '.join(self.provider_options)}) were given for {len(names)} providers, but they apply "
                "to one provider; measure this provider alone."
            )
        return names


def default_files() -> list[Path]:
    """Return the files that are measured if none is named: those of the latest run, or the model of the package."""
    return exported_files([LATEST]) if LATEST.is_dir() else [default_model()]


def measure(models: Sequence[Path], *, options: MeasureOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Measure models in all combinations of provider, threads and batch, interleaved in one run.

    Parameters
    ----------
    models
        .onnx files; if empty, those of the latest run, or the model that ships with segtool.
    progress
        Called with (phase, done, total); the phases are latency, throughput and cold start.

    Returns
    -------
    dict
        `models`: for each case the figures of `measure_latency` and `measure_cold_start`, under `throughput` those of
        `measure_throughput`, and with data the `accuracy`. `throughput_ips` is images a second of all sessions, where
        only the latency is measured of one run after the other. `warmup`, `noise` and `ranking` of the latencies;
        `comparison`, if requested; `machine`, with its state at the start.

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, or the models have different input sizes.
    """
    machine, old = machine_info(), options.compare and read_benchmark(options.compare)
    paths, providers = list(models) or default_files(), options.providers
    cases = [
        BenchmarkCase(path, name, threads, batch, options.provider_options)
        for path, name, threads, batch in product(paths, providers, _threads(options), options.batch)
    ]
    if old:
        quantities = QUANTITIES if options.mode == "both" else (options.mode,)
        require_comparable(old, machine, [case.describe() for case in cases], quantities=quantities)
    images = _images(cases, options.data)
    accuracy = {path: _accuracy(path, providers[0], options) for path in paths} if options.data else {}
    result = _measure_speed(cases, images, options, progress or (lambda *_: None))
    if accuracy:
        for case, row in zip(cases, result["models"], strict=True):
            row["accuracy"] = accuracy[case.path]
    result |= {"machine": machine, "load_average_at_end": load_average()}
    result |= {"data": options.data, "mode": options.mode, "seconds": options.length.seconds, "runs": options.runs}
    if old:
        result["comparison"] = {"with": str(options.compare), **compare(result, old)}
    return result


def _measure_speed(
    cases: Sequence[BenchmarkCase], images: UInt8Array, options: MeasureOptions, progress: Progress
) -> dict[str, Any]:
    """Measure latency, throughput or both, and the cold start; one entry of "models" for each case."""
    length = options.length
    result: dict[str, Any] = {"warmup": None, "noise": None, "ranking": None}
    result["models"] = [case.describe() for case in cases]
    if options.mode != "throughput":
        report = partial(progress, "latency")
        result = measure_latency(cases, images=images, length=length, samples=options.samples, progress=report)
    if options.mode != "latency":
        found = measure_throughput(cases, images=images, length=length, progress=partial(progress, "throughput"))
        for row, entry in zip(result["models"], found, strict=True):
            row["throughput"] = entry
    for row in result["models"]:
        row["throughput_ips"] = (
            row["throughput"]["images_per_second"]["median"] if "throughput" in row else row["images_per_second"]
        )
    for number, (case, row) in enumerate(zip(cases, result["models"], strict=True)):
        progress("cold start", number, len(cases))
        row.update(measure_cold_start(case, threads=case.segmenter.threads))
    return result


def _threads(options: MeasureOptions) -> tuple[int | None, ...]:
    """Return the numbers of threads to measure; None if the provider's own options set it."""
    if options.threads:
        return options.threads
    return (None,) if sets_threads(options.provider_options) else (environment_threads() or 1,)


def _images(cases: Sequence[BenchmarkCase], spec: str | None) -> UInt8Array:
    """Return images uint8 (N, H, W, C) of the data, or of the golden pair, in the common input size of all models."""
    contracts = [case.segmenter.contract for case in cases]
    shapes = {(each.height, each.width, each.channels) for each in contracts}
    if len(shapes) > 1:
        raise ModelFileError(
            f"The models have different input shapes ({sorted(shapes)}), so their times are not comparable; "
            "benchmark each model alone."
        )
    if spec is None:
        return cases[0].segmenter.golden().images
    data = load_dataset(spec, classes=classes_of(contracts[0]))
    return data.images(np.arange(min(IMAGES, len(data))), size=cases[0].segmenter.input_size)


def _accuracy(path: Path, provider: str, options: MeasureOptions) -> dict[str, Any]:
    """Return the figures on the part of the data that `evaluate` scores, never on training images."""
    settings = EvaluateOptions(data=options.data, provider=provider, provider_options=options.provider_options)
    scores = evaluate(path, options=settings).to_dict()
    kept = ("split", "images", "pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
    return {key: scores[key] for key in kept}
