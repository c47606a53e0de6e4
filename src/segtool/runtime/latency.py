"""Measuring models: latency, throughput, cold start, memory, and whether one is faster than another.

Every comparison is interleaved (A, B, A, B, ...), so that a clock or a neighbour that changes during the
measurement changes all of them; percentiles are of every run after the warm-up, none is taken out.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segtool.errors import DataError
from segtool.runtime.arrays import UInt8Array
from segtool.runtime.fresh_process import measure_cold_start
from segtool.runtime.image_io import decode_image, to_channels
from segtool.runtime.machine import machine_info
from segtool.runtime.segmenter import Segmenter, load

__all__ = ["BenchmarkCase", "Ratio", "benchmark", "compare_interleaved", "machine_info", "percentiles", "ratio_of"]

FloatVector = npt.NDArray[np.float64]

STAGES = ("decode", "pre", "run", "post")
"""PNG bytes to pixels; pixels to the model's batch; the graph; its output to label maps."""

_BOOTSTRAP_SAMPLES = 2000
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class BenchmarkCase:
    """One way to run one model.

    Attributes
    ----------
    path
        The .onnx file.
    provider, threads, provider_options
        As in `segtool.load`.
    batch
        Images per run.
    """

    path: Path
    provider: str = "auto"
    threads: int | None = None
    batch: int = 1
    provider_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """How long A takes in units of B: above 1, B is faster.

    Attributes
    ----------
    median
        Median over the rounds of time of A / time of B.
    low, high
        Bootstrap 95 % interval of that median.
    """

    median: float
    low: float
    high: float


def benchmark(
    cases: Sequence[BenchmarkCase],
    *,
    images: UInt8Array,
    runs: int = 200,
    warmup: int = 20,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure every case, their runs interleaved.

    Parameters
    ----------
    cases
        What to measure.
    images
        uint8 (N, h, w, C) or (N, h, w), taken in turn; those of another size than a model's are resized, and
        that is counted.
    runs
        Measured rounds; in each, every case runs once.
    warmup
        Rounds before that, not counted.
    progress
        Called with (rounds done, rounds in all) after each, outside what is timed.

    Returns
    -------
    list of dict
        For each case, ready for JSON: what ran (`path`, `batch`, `precision`, `head`, and all of
        `Segmenter.provider_report`), `n`;
        `latency_ms` (p50, p90, p99, mean, min) of one batch from pixels to label maps; `stages_ms`, the median of
        each of `STAGES`, of which decode is not in the latency; `throughput_ips`, images a second at the mean
        latency, one run after the other; `cold_start_ms` and `peak_rss_mb` (10^6 bytes) of a fresh process up to
        its first labels; `size_bytes`.
    """
    if len(images) == 0 or runs < 1 or warmup < 0 or any(case.batch < 1 for case in cases):
        raise DataError("A benchmark needs at least one image, one run and batches of at least one image.")
    subjects = [_Subject(case, images) for case in cases]
    for number in range(-warmup, runs):
        for subject in subjects:
            subject.step(number)
        if progress is not None:
            progress(warmup + number + 1, warmup + runs)
    return [subject.summary() for subject in subjects]


def compare_interleaved(a: Callable[[], Any], b: Callable[[], Any], *, rounds: int, warmup: int = 3) -> Ratio:
    """Compare the time of two calls, run in turn; which of them goes first changes from round to round.

    Parameters
    ----------
    a, b
        The calls.
    rounds
        Measured pairs.
    warmup
        Pairs before that, not counted.
    """
    if rounds < 1:
        raise DataError(f"A comparison needs at least one round, {rounds} were asked for.")
    ratios = []
    for number in range(-warmup, rounds):
        if number % 2:
            time_b, time_a = _timed(b), _timed(a)
        else:
            time_a, time_b = _timed(a), _timed(b)
        if number >= 0:
            ratios.append(time_a / time_b)
    return ratio_of(np.array(ratios))


class _Subject:
    """A case under measurement: its open model, its inputs, and the times of its stages."""

    def __init__(self, case: BenchmarkCase, images: UInt8Array) -> None:
        self.case = case
        self.segmenter = load(
            case.path, provider=case.provider, threads=case.threads, provider_options=case.provider_options
        )
        self.images = [to_channels(image, self.segmenter.contract.channels) for image in images]
        self.times: list[list[float]] = []
        self._files = [_png(image) for image in self.images]

    def step(self, number: int) -> None:
        """Run once; keep the times of all but the warm-up, whose rounds have negative numbers."""
        indices = [(number * self.case.batch + offset) % len(self.images) for offset in range(self.case.batch)]
        times = _stage_times(self.segmenter, [self._files[index] for index in indices])
        if number >= 0:
            self.times.append(times)

    def summary(self) -> dict[str, Any]:
        """Return the entry of this case."""
        stages = np.array(self.times) * 1e3
        latency = stages[:, 1:].sum(axis=1)
        cold_start_ms, peak_rss_mb = measure_cold_start(
            self.segmenter.path,
            provider=self.case.provider,
            threads=self.segmenter.threads,
            batch=self.case.batch,
            provider_options=self.case.provider_options,
        )
        return {
            "path": str(self.segmenter.path),
            **self.segmenter.provider_report,
            "batch": self.case.batch,
            "precision": self.segmenter.contract.precision,
            "head": self.segmenter.contract.head,
            "n": len(latency),
            "latency_ms": percentiles(latency),
            "stages_ms": dict(zip(STAGES, np.median(stages, axis=0).tolist(), strict=True)),
            "throughput_ips": self.case.batch * 1e3 / float(latency.mean()),
            "cold_start_ms": cold_start_ms,
            "peak_rss_mb": peak_rss_mb,
            "size_bytes": self.segmenter.path.stat().st_size,
        }


def _stage_times(segmenter: Segmenter, files: Sequence[bytes]) -> list[float]:
    """Predict one batch from PNG bytes; return the seconds of each of `STAGES`."""
    channels = segmenter.contract.channels
    marks = [time.perf_counter()]
    images = [decode_image(io.BytesIO(data), channels=channels, name="a benchmark image") for data in files]
    marks.append(time.perf_counter())
    batch = segmenter.preprocess(images)
    marks.append(time.perf_counter())
    output = segmenter.run(batch)
    marks.append(time.perf_counter())
    segmenter.postprocess(output, *images[0].shape[:2])
    marks.append(time.perf_counter())
    return np.diff(marks).tolist()


def percentiles(milliseconds: FloatVector) -> dict[str, float]:
    """Return p50, p90, p99, mean and min of all values, in their unit."""
    p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99)).tolist()
    return {
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "mean": float(milliseconds.mean()),
        "min": float(milliseconds.min()),
    }


def ratio_of(ratios: FloatVector) -> Ratio:
    """Return the median of paired ratios with its percentile bootstrap interval (Efron, 1979)."""
    rng = np.random.default_rng(_BOOTSTRAP_SEED)
    samples = rng.choice(ratios, size=(_BOOTSTRAP_SAMPLES, len(ratios)))
    low, high = np.percentile(np.median(samples, axis=1), (2.5, 97.5)).tolist()
    return Ratio(float(np.median(ratios)), low, high)


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _png(image: UInt8Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, format="PNG")
    return stream.getvalue()
