"""Throughput in images a second: parallel sessions, each with its threads and batches, on all processors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.latency import Length, Progress
from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.benchmark.target import Target
from segtool.images.image_io import to_channels
from segtool.machine.processors import available_cpus
from segtool.runtime.segmenter import Segmenter

TURN_SECONDS = 0.25
_LEAST_TURNS = 6


def measure_throughput(
    targets: Sequence[Target],
    *,
    images: UInt8Array,
    length: Length,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Measure images a second of all cases, interleaved.

    Parameters
    ----------
    targets
        The cases to measure, with their open models; a case runs as many parallel sessions as the processors of this
        process allow with its number of threads.
    images
        As in `segtool.benchmark.latency.measure_latency`.
    length
        How long to measure; with `runs`, at least this number of runs of each case.
    progress
        Called with (done, total), in seconds, between the turns.

    Returns
    -------
    list of dict
        For each case `sessions`, `threads` of each session, `turns`, `n` runs, `images_per_second` (the median over
        the turns with its bootstrap 95 % interval), `latency_ms` of a run under this load, and `band`: the distance
        from 1 of the interval of the ratio of each turn to the next one.
    """
    with ExitStack() as pools:
        cases = [_Sessions(target, images, pools) for target in targets]
        for case in cases:
            case.turn(counted=False)
        turns, started, seconds = 0, time.perf_counter(), length.seconds * len(cases)
        while turns < _LEAST_TURNS or not _is_enough(cases, length, time.perf_counter() - started):
            for case in cases:
                case.turn()
            turns += 1
            if progress is not None:
                progress(min(time.perf_counter() - started, seconds), seconds)
        return [case.summary() for case in cases]


class _Sessions:
    """Sessions of one case, each called by its own thread."""

    def __init__(self, target: Target, images: UInt8Array, pools: ExitStack) -> None:
        sessions = max(1, available_cpus() // target.segmenter.threads)
        target.require_memory(sessions=sessions)
        self._batch = target.case.batch
        self._segmenters = [target.segmenter, *(target.case.open().segmenter for _ in range(sessions - 1))]
        self._images = [to_channels(image, target.segmenter.contract.channels) for image in images]
        self._pool = pools.enter_context(ThreadPoolExecutor(sessions))
        self._rates: list[float] = []
        self.latencies: list[float] = []

    def turn(self, *, counted: bool = True) -> None:
        """Run all sessions for one turn; the rate of the turn is the sum of their rates."""
        found = list(self._pool.map(self._work, self._segmenters))
        if counted:
            self._rates.append(sum(len(times) * self._batch / sum(times) for times in found))
            self.latencies += [seconds for times in found for seconds in times]

    def summary(self) -> dict[str, Any]:
        rates = np.array(self._rates)
        pairs = len(rates) // 2
        return {
            "sessions": len(self._segmenters),
            "threads": self._segmenters[0].threads,
            "turns": len(rates),
            "n": len(self.latencies),
            "images_per_second": asdict(ratio_of(rates)),
            "latency_ms": percentiles(np.array(self.latencies) * 1e3),
            "band": ratio_of(rates[: 2 * pairs : 2] / rates[1 : 2 * pairs : 2]).band,
        }

    def _work(self, segmenter: Segmenter) -> list[float]:
        """Run one batch after the other for `TURN_SECONDS`; return the seconds of all except the first."""
        number = 0
        times: list[float] = []
        ends = time.perf_counter() + TURN_SECONDS
        while not times or time.perf_counter() < ends:
            batch = [self._images[(number * self._batch + offset) % len(self._images)] for offset in range(self._batch)]
            started = time.perf_counter()
            output = segmenter.run(segmenter.preprocess(batch))
            segmenter.postprocess(output, *batch[0].shape[:2])
            if number:
                times.append(time.perf_counter() - started)
            number += 1
        return times


def _is_enough(cases: Sequence[_Sessions], length: Length, passed: float) -> bool:
    if length.runs is None:
        return passed >= length.seconds * len(cases)
    return min(len(case.latencies) for case in cases) >= length.runs
