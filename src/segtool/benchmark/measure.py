"""Measure exported models on this machine, for `segtool benchmark`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.cold_start import measure_cold_start
from segtool.benchmark.latency import Length, measure_latency
from segtool.benchmark.regression import (
    compare,
    machine_differences,
    read_benchmark,
    require_comparable,
    require_shared_case,
)
from segtool.benchmark.target import BenchmarkCase, describe
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
from segtool.runtime.segmenter import Segmenter, load

Mode = Literal["latency", "throughput", "both"]
Progress = Callable[[int, int], None]

IMAGES = 64  # number of different images: enough for variation, few enough for the memory


@dataclass(frozen=True)
class MeasureOptions:
    """Options of a benchmark; see `segtool.benchmark.latency.Length` for `seconds`, `runs` and `warmup`.

    `provider` is one name, or several separated by commas. Without `threads`, the provider's own options,
    OMP_NUM_THREADS or 1 apply, in this order. `samples` keeps the time of each run. `compare` is the JSON file of an
    earlier benchmark.
    """

    data: str | None = None
    provider: str = "auto"
    threads: tuple[int, ...] = ()
    batch: tuple[int, ...] = (1,)
    mode: Mode = "latency"
    seconds: float = 10.0
    runs: int | None = None
    warmup: int | None = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    samples: bool = False
    compare: Path | None = None
    compare_anyway: bool = False

    @property
    def length(self) -> Length:
        """The length of the measurement."""
        return Length(self.seconds, self.runs, self.warmup)


def measure(models: Sequence[Path], *, options: MeasureOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Measure models in all combinations of provider, threads and batch, interleaved in one run.

    Parameters
    ----------
    models
        .onnx files; if empty, those of the latest run, or the model that ships with segtool.
    options
        The options.
    progress
        Called with (done, total), in hundredths of the phases: latency, throughput, cold start.

    Returns
    -------
    dict
        "models": one entry for each case with its description, the figures of
        `segtool.benchmark.latency.measure_latency` and `segtool.benchmark.cold_start.ColdStart`, under "throughput"
        those of `segtool.benchmark.throughput.measure_throughput` (whose median is then the `throughput_ips`), and
        "accuracy" if data was given. "warmup", "noise" and "ranking" of the latencies, if measured; "comparison", if
        requested; "machine": the machine and its state at the start.

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, or the models have different input sizes.
    """
    machine = machine_info()
    paths, providers = list(models) or _latest_models(), _providers(options)
    old = None if options.compare is None else read_benchmark(options.compare)
    opened = [
        load(path, provider=name, provider_options=options.provider_options) for name in providers for path in paths
    ]
    if old is not None:
        _require_comparable(old, machine, opened, options)
    images = _images(opened, options.data)
    cases = [
        BenchmarkCase(path, name, threads, batch, options.provider_options)
        for path, name, threads, batch in product(paths, providers, _threads(options), options.batch)
    ]
    phases = _Phases(progress, 2 + (options.mode == "both"))
    result = _measure_modes(cases, images, options, phases)
    colds = _cold_starts(cases, result["models"], phases.next())
    rows = [{**row, **cold} for row, cold in zip(result["models"], colds, strict=True)]
    if options.data is not None:
        accuracy = {str(path): _accuracy(path, options, options.data) for path in paths}
        rows = [{**row, "accuracy": accuracy[str(row["path"])]} for row in rows]
    settings = {"data": options.data, "mode": options.mode, "seconds": options.seconds, "runs": options.runs}
    found = {**result, "models": rows, "machine": machine, "load_average_at_end": load_average(), **settings}
    return found if old is None else {**found, "comparison": _comparison(found, old, options)}


def _require_comparable(
    old: Mapping[str, Any], machine: Mapping[str, Any], opened: Sequence[Segmenter], options: MeasureOptions
) -> None:
    """Refuse an impossible comparison before the measurement."""
    if not options.compare_anyway:
        require_comparable(old, machine, [each.provider for each in opened])
    modes = {"latency": ["latency_ms"], "throughput": ["throughput"]}
    quantities = dict.fromkeys(modes.get(options.mode, ["latency_ms", "throughput"]))
    rows = [
        {"path": str(each.path), "provider": each.provider, "threads": count or each.threads, "batch": batch}
        for each, count, batch in product(opened, _threads(options), options.batch)
    ]
    rows = [{**row, **quantities} for row in rows]
    require_shared_case(old, rows, anyway=options.compare_anyway)


def _comparison(new: Mapping[str, Any], old: Mapping[str, Any], options: MeasureOptions) -> dict[str, Any]:
    return {
        "with": str(options.compare),
        "machine_differences": machine_differences(old["machine"], new["machine"]),
        **compare(new, old, anyway=options.compare_anyway),
    }


class _Phases:
    """Combine the callbacks of consecutive phases into one progress."""

    def __init__(self, progress: Progress | None, phases: int) -> None:
        self._progress = progress or (lambda done, total: None)  # noqa: ARG005 (the callback's arguments)
        self._phases = phases
        self._begun = 0

    def next(self) -> Callable[[float, float], None]:
        """Begin a phase; return its callback (done, total)."""
        before, self._begun = self._begun, self._begun + 1
        return lambda done, total: self._progress(100 * before + int(100 * done / total), 100 * self._phases)


def _measure_modes(
    cases: Sequence[BenchmarkCase], images: UInt8Array, options: MeasureOptions, phases: _Phases
) -> dict[str, Any]:
    """Measure latency, throughput or both; one entry of "models" for each case."""
    result: dict[str, Any] = {"warmup": None, "noise": None, "ranking": None}
    if options.mode == "throughput":
        rows = [describe(case.open(), case) for case in cases]
    else:
        result = measure_latency(
            cases, images=images, length=options.length, samples=options.samples, progress=phases.next()
        )
        rows = result["models"]
    if options.mode != "latency":
        found = measure_throughput(cases, images=images, length=options.length, progress=phases.next())
        rows = [
            {**row, "throughput": entry, "throughput_ips": entry["images_per_second"]["median"]}
            for row, entry in zip(rows, found, strict=True)
        ]
    return {**result, "models": rows}


def _cold_starts(
    cases: Sequence[BenchmarkCase], rows: Sequence[Mapping[str, Any]], progress: Callable[[float, float], None]
) -> Iterator[dict[str, Any]]:
    for number, (case, row) in enumerate(zip(cases, rows, strict=True), start=1):
        found = measure_cold_start(
            case.path,
            provider=case.provider,
            threads=row["threads"],
            batch=case.batch,
            provider_options=case.provider_options,
        )
        progress(number, len(cases))
        yield found.to_dict()


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
