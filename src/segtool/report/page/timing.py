"""The latency of the models of a report: the figures of ``segtool benchmark``, with all timed runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from segtool.benchmark.latency import RUNS_A_TURN
from segtool.benchmark.measure import MeasureOptions, measure
from segtool.benchmark.statistics import ratio_of_turns
from segtool.report.page.options import Progress, ReportOptions
from segtool.runtime.segmenter import Segmenter

Rows = dict[Path, dict[str, Any]]


def measure_models(segmenters: Sequence[Segmenter], options: ReportOptions, progress: Progress) -> Rows:
    """Return the entry of ``benchmark --json`` of each model by its path, with `samples_ms` and `noise`.

    Models of the same input size are measured interleaved. Other sizes are measured separately, because their times are
    not comparable.
    """
    groups: dict[tuple[int, int, int], list[Path]] = {}
    for each in segmenters:
        groups.setdefault((*each.input_size, each.contract.channels), []).append(each.path)
    rows: Rows = {}
    for paths in groups.values():
        found = measure(paths, options=_settings(options), progress=progress)
        noise = {key: found["noise"][key] for key in ("band", "quiet", "criterion")}
        rows |= {path: {**row, "noise": noise} for path, row in zip(paths, found["models"], strict=True)}
    return rows


def speed_ratio(float32: Mapping[str, Any] | None, int8: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return the speed-up of INT8 with its 95 % interval, from two interleaved entries; None if one is missing."""
    if not float32 or not int8:
        return None
    return asdict(ratio_of_turns(_turns(float32), _turns(int8)))


def _turns(row: Mapping[str, Any]) -> list[np.typing.NDArray[np.float64]]:
    samples = np.asarray(row["samples_ms"], np.float64)
    return [samples[start : start + RUNS_A_TURN] for start in range(0, len(samples), RUNS_A_TURN)]


def _settings(options: ReportOptions) -> MeasureOptions:
    return MeasureOptions(
        provider=options.provider,
        threads=(options.threads,) if options.threads else (),
        runs=options.runs,
        provider_options=options.provider_options,
        samples=True,
    )
