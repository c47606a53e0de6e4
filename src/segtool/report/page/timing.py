"""The times of a report's models: `segtool benchmark`'s figures, and every timed run for the distributions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtool.report.measure import MeasureOptions, measure
from segtool.report.page.options import Progress, ReportOptions
from segtool.runtime.latency import percentiles, ratio_of
from segtool.runtime.segmenter import Segmenter, load

_WARMUP = 20


def measure_models(
    segmenters: Sequence[Segmenter], options: ReportOptions, progress: Progress
) -> dict[Path, dict[str, Any]]:
    """Return the entry of ``benchmark --json`` of each model, with `samples_ms`, by its path.

    Models of one input size are measured in turns; others in a measurement of their own, as their times do not
    compare.
    """
    groups: dict[tuple[int, int, int], list[Segmenter]] = {}
    for each in segmenters:
        groups.setdefault((*each.input_size, each.contract.channels), []).append(each)
    rows: dict[Path, dict[str, Any]] = {}
    for group in groups.values():
        rows |= _measure_group(group, options, progress)
    return rows


def speed_ratio(float32: Sequence[float], int8: Sequence[float]) -> dict[str, float]:
    """Return how many times as fast INT8 is: the median over paired runs, and its 95 % interval."""
    ratio = ratio_of(np.asarray(float32) / np.asarray(int8))
    return {"median": ratio.median, "low": ratio.low, "high": ratio.high}


def _measure_group(
    group: Sequence[Segmenter], options: ReportOptions, progress: Progress
) -> dict[Path, dict[str, Any]]:
    settings = MeasureOptions(
        provider=options.provider,
        threads=(options.threads,) if options.threads else (),
        runs=options.runs,
        provider_options=options.provider_options,
    )
    paths = [each.path for each in group]
    found = measure(paths, options=settings, progress=lambda done, total: progress("timed runs", done, total))
    rows = dict(zip(paths, found["models"], strict=True))
    if all("samples_ms" in row for row in rows.values()):
        return rows
    samples = _sample([_reopened(each.path, rows[each.path], options) for each in group], options.runs)
    # The percentiles are of the runs that the page draws, so that both say the same.
    return {
        path: {
            **row,
            "latency_ms": {**percentiles(np.asarray(samples[path])), "max": max(samples[path])},
            "samples_ms": samples[path],
        }
        for path, row in rows.items()
    }


def _reopened(path: Path, row: Mapping[str, Any], options: ReportOptions) -> Segmenter:
    """Open a file as it was measured."""
    return load(path, provider=options.provider, threads=row["threads"], provider_options=options.provider_options)


def _sample(group: Sequence[Segmenter], runs: int) -> dict[Path, list[float]]:
    """Return the milliseconds of each run of each model, from pixels to label map, the models in turns."""
    times: dict[Path, list[float]] = {each.path: [] for each in group}
    images = {each.path: each.golden().images for each in group}
    for number in range(-_WARMUP, runs):
        for each in group:
            image = images[each.path][number % len(images[each.path])]
            started = time.perf_counter()
            output = each.run(each.preprocess([image]))
            each.postprocess(output, *image.shape[:2])
            if number >= 0:
                times[each.path].append((time.perf_counter() - started) * 1e3)
    return times
