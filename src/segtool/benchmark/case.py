"""One way to run one model in a benchmark, and its runs under interleaved measurement."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtool.array_types import Float64Array, UInt8Array
from segtool.benchmark.statistics import median_interval, percentiles
from segtool.errors import DataError
from segtool.images.image_io import decode_image, to_channels
from segtool.machine.memory import available_memory
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter

RUNS_A_TURN = 5
"""Timed runs of a turn. The previous case has replaced the caches, so one run before them is not timed."""

STAGES = ("decode", "pre", "run", "post")
"""PNG bytes to pixels; pixels to the model's batch; the graph; the graph's output to label maps."""


@dataclass(frozen=True)
class BenchmarkCase:
    """One way to run one model, and its open model.

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

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise DataError(f"The batch has {self.batch} images; expected at least 1.")

    @cached_property
    def segmenter(self) -> Segmenter:
        """The model, opened at the first use; errors as in `segtool.load`."""
        return load(self.path, provider=self.provider, threads=self.threads, provider_options=self.provider_options)

    def again(self) -> BenchmarkCase:
        """Return the same case, which opens a session of its own."""
        return replace(self)

    def describe(self) -> dict[str, Any]:
        """Return its description for JSON: file, provider report, batch, precision, head and size in bytes."""
        return {
            "path": str(self.segmenter.path),
            **self.segmenter.provider_report,
            "batch": self.batch,
            "precision": self.segmenter.contract.precision,
            "head": self.segmenter.contract.head,
            "size_bytes": self.segmenter.path.stat().st_size,
        }

    def require_memory(self, *, sessions: int = 1) -> None:
        """Refuse batches that do not fit in memory in this number of sessions: the system would kill the process.

        Each pixel is counted in its decoded image, in the batch and in the output; the network itself is not counted.

        Raises
        ------
        DataError
            They do not fit.
        """
        contract, memory = self.segmenter.contract, available_memory()
        output = contract.label_dtype.itemsize if contract.head == "labels" else 4 * contract.num_classes
        pixels = self.batch * sessions * contract.height * contract.width
        needed = pixels * (2 * contract.channels + output)
        if memory is not None and needed > memory:
            where = f" in each of {sessions} parallel sessions" if sessions > 1 else ""
            raise DataError(
                f"A batch of {self.batch}{where} needs {needed / 1e6:,.0f} MB for its images and outputs alone, "
                f"but {memory / 1e6:,.0f} MB are available; use a smaller --batch."
            )


class Runner:
    """A case under interleaved measurement; `turns` has the seconds (runs, stages) of the counted turns."""

    def __init__(self, case: BenchmarkCase, images: UInt8Array) -> None:
        case.require_memory()
        self._case = case
        self._files = [_png(to_channels(image, case.segmenter.contract.channels)) for image in images]
        self._next = 0
        self.turns: list[Float64Array] = []

    def run(self) -> list[float]:
        """Predict the next batch from PNG bytes; return the seconds of each of `STAGES`."""
        segmenter, size = self._case.segmenter, self._case.batch
        files = [self._files[(self._next + offset) % len(self._files)] for offset in range(size)]
        self._next += size
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

    def turn(self) -> None:
        """Run several times and keep the times; one uncounted run comes first, because other cases ran in between."""
        self.run()
        self.turns.append(np.array([self.run() for _ in range(RUNS_A_TURN)]))

    def latencies(self) -> list[Float64Array]:
        """Return the milliseconds from pixels to label maps for each run of each turn."""
        return [turn[:, 1:].sum(axis=1) * 1e3 for turn in self.turns]

    def summary(self, *, samples: bool) -> dict[str, Any]:
        """Return the statistics of the turns, ready for JSON, with `samples` also `samples_ms`, the time of each run.

        Returns
        -------
        dict
            `n`; `latency_ms` (`percentiles`, and the bootstrap 95 % interval p50_low to p50_high) of one batch from
            pixels to label maps; `stages_ms`, the median of each of `STAGES` (the latency excludes decode);
            `images_per_second` at the mean latency, one run after the other.
        """
        latency = np.concatenate(self.latencies())
        low, high = median_interval(latency)
        stages = np.median(np.concatenate(self.turns), axis=0) * 1e3
        return {
            "n": len(latency),
            "latency_ms": {**percentiles(latency), "p50_low": low, "p50_high": high},
            "stages_ms": dict(zip(STAGES, stages.tolist(), strict=True)),
            "images_per_second": self._case.batch * 1e3 / float(latency.mean()),
            **({"samples_ms": latency.tolist()} if samples else {}),
        }


def _png(image: UInt8Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, format="PNG")
    return stream.getvalue()
