"""Throughput in images a second: parallel sessions, each with its threads and batches, on all processors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import count
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.batch_memory import require_memory
from segtool.benchmark.latency import Length, Progress
from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.benchmark.target import BenchmarkCase
from segtool.images.image_io import to_channels
from segtool.machine.processors import available_cpus
from segtool.runtime.segmenter import Segmenter

TURN_SECONDS = 0.25
_LEAST_TURNS = 6


def measure_throughput(
    cases: Sequence[BenchmarkCase], *, images: UInt8Array, length: Length, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Measure images a second of all cases, interleaved.

    Parameters
    ----------
    cases
        The cases to measure; a case runs as many parallel sessions as the processors of this process allow with its
        number of threads.
    images
        As in `segtool.benchmark.latency.measure_latency`.
    length
        How long to measure; with `runs`, at least this number of runs of each case.

    Returns
    -------
    list of dict
        For each case `sessions`, `threads` of each session, `turns`, `n` runs, `images_per_second` (the median over
        the turns with its bootstrap 95 % interval), `latency_ms` of a run under this load, and `band`: the distance
        from 1 of the interval of the ratio of each turn to the next one.
    """
    subjects = [_Sessions(case, images) for case in cases]
    started, seconds = time.perf_counter(), length.seconds * len(cases)
    for subject in subjects:
        subject.turn(counted=False)
    for turns in count(1):
        for subject in subjects:
            subject.turn()
        passed = time.perf_counter() - started
        if progress is not None:
            progress(min(passed, seconds), seconds)
        enough = passed >= seconds if length.runs is None else min(map(len, subjects)) >= length.runs
        if turns >= _LEAST_TURNS and enough:
            break
    summaries = [subject.summary() for subject in subjects]
    for subject in subjects:
        subject.close()
    return summaries


class _Sessions:
    """Sessions of one case, each called by its own thread."""

    def __init__(self, case: BenchmarkCase, images: UInt8Array) -> None:
        first = case.open()
        sessions = max(1, available_cpus() // first.threads)
        require_memory(case, first, sessions=sessions)
        self._case = case
        self._segmenters = [first, *(case.open() for _ in range(sessions - 1))]
        self._images = [to_channels(image, first.contract.channels) for image in images]
        self._pool = ThreadPoolExecutor(sessions)
        self._rates: list[float] = []
        self._latencies: list[float] = []

    def __len__(self) -> int:
        return len(self._latencies)

    def turn(self, *, counted: bool = True) -> None:
        """Run all sessions for one turn; the rate of the turn is the sum of their rates."""
        found = list(self._pool.map(self._work, self._segmenters))
        if counted:
            self._rates.append(sum(len(times) * self._case.batch / sum(times) for times in found))
            self._latencies += [seconds for times in found for seconds in times]

    def summary(self) -> dict[str, Any]:
        rates = np.array(self._rates)
        pairs = len(rates) // 2
        return {
            "sessions": len(self._segmenters),
            "threads": self._segmenters[0].threads,
            "turns": len(rates),
            "n": len(self._latencies),
            "images_per_second": asdict(ratio_of(rates)),
            "latency_ms": percentiles(np.array(self._latencies) * 1e3),
            "band": ratio_of(rates[: 2 * pairs : 2] / rates[1 : 2 * pairs : 2]).band,
        }

    def close(self) -> None:
        self._pool.shutdown()

    def _work(self, segmenter: Segmenter) -> list[float]:
        """Run one batch after the other for `TURN_SECONDS`; return the seconds of all except the first."""
        size, number = self._case.batch, 0
        times: list[float] = []
        ends = time.perf_counter() + TURN_SECONDS
        while not times or time.perf_counter() < ends:
            batch = [self._images[(number * size + offset) % len(self._images)] for offset in range(size)]
            started = time.perf_counter()
            output = segmenter.run(segmenter.preprocess(batch))
            segmenter.postprocess(output, *batch[0].shape[:2])
            if number:
                times.append(time.perf_counter() - started)
            number += 1
        return times
