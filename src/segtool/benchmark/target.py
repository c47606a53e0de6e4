"""One way to run one model, opened for measurement: its inputs, its turns and the times of its stages."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtool.array_types import Float64Array, UInt8Array
from segtool.benchmark.statistics import median_interval, percentiles
from segtool.images.image_io import decode_image, to_channels
from segtool.runtime.segmenter import Segmenter, load

STAGES = ("decode", "pre", "run", "post")
"""PNG bytes to pixels; pixels to the model's batch; the graph; the graph's output to label maps."""


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

    def open(self) -> Segmenter:
        """Open the model with the settings of this case; errors as in `segtool.load`."""
        return load(self.path, provider=self.provider, threads=self.threads, provider_options=self.provider_options)


class Subject:
    """A case under interleaved measurement.

    Attributes
    ----------
    case
        The measured case.
    segmenter
        Its open model.
    turns
        For each counted turn the seconds (runs, stages) of its runs.
    """

    def __init__(self, case: BenchmarkCase, images: UInt8Array) -> None:
        self.case = case
        self.segmenter = case.open()
        self.turns: list[Float64Array] = []
        self._files = [_png(to_channels(image, self.segmenter.contract.channels)) for image in images]
        self._next = 0

    def run(self) -> list[float]:
        """Predict the next batch from PNG bytes; return the seconds of each of `STAGES`."""
        files = [self._files[(self._next + offset) % len(self._files)] for offset in range(self.case.batch)]
        self._next += self.case.batch
        return _stage_times(self.segmenter, files)

    def turn(self, runs: int, *, fresh: bool) -> Float64Array:
        """Run several times and keep the times; if other cases ran in between, one uncounted run comes first."""
        if fresh:
            self.run()
        times = np.array([self.run() for _ in range(runs)])
        self.turns.append(times)
        return times

    def latencies(self) -> list[Float64Array]:
        """Return the milliseconds from pixels to label maps for each run of each turn."""
        return [turn[:, 1:].sum(axis=1) * 1e3 for turn in self.turns]

    def summary(self) -> dict[str, Any]:
        """Return the statistics of its turns, ready for JSON: `n`, `latency_ms`, `stages_ms`, `throughput_ips`."""
        latency = np.concatenate(self.latencies())
        low, high = median_interval(latency)
        stages = np.median(np.concatenate(self.turns), axis=0) * 1e3
        return {
            "n": len(latency),
            "latency_ms": {**percentiles(latency), "p50_low": low, "p50_high": high},
            "stages_ms": dict(zip(STAGES, stages.tolist(), strict=True)),
            "throughput_ips": self.case.batch * 1e3 / float(latency.mean()),
        }


def describe(segmenter: Segmenter, case: BenchmarkCase) -> dict[str, Any]:
    """Return the description of a case: file, provider report, batch, precision, head and size in bytes."""
    return {
        "path": str(segmenter.path),
        **segmenter.provider_report,
        "batch": case.batch,
        "precision": segmenter.contract.precision,
        "head": segmenter.contract.head,
        "size_bytes": segmenter.path.stat().st_size,
    }


def _stage_times(segmenter: Segmenter, files: Sequence[bytes]) -> list[float]:
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


def _png(image: UInt8Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, format="PNG")
    return stream.getvalue()
