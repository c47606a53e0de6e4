"""Throughput in images a second: parallel sessions, each with its threads and batches, on all processors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np

from segtool.array_types import UInt8Array
from segtool.benchmark.case import BenchmarkCase
from segtool.benchmark.latency import Length, Progress
from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.images.image_io import to_channels
from segtool.machine.processors import available_cpus
from segtool.runtime.segmenter import Segmenter

TURN_SECONDS = 0.25
_LEAST_TURNS = 6


def measure_throughput(
    cases: Sequence[BenchmarkCase],
    *,
    images: UInt8Array,
    length: Length,
    progress: Progress = lambda *_: None,
) -> list[dict[str, Any]]:
    """Measure images a second of all cases, interleaved.

    A case runs as many parallel sessions as the processors of this process allow with its number of threads. The
    arguments are those of `segtool.benchmark.latency.measure_latency`.

    Returns
    -------
    list of dict
        For each case `sessions`, `threads` of each session, `turns`, `n` runs, `images_per_second` (the median over
        the turns with its bootstrap 95 % interval), `latency_ms` of a run under this load, and `band`: the distance
        from 1 of the interval of the ratio of each turn to the next one.
    """
    teams = [_Sessions(case, images) for case in cases]
    for team in teams:
        team.turn()  # not counted

    def runs() -> int:
        return min(len(team.latencies) for team in teams)

    for _ in length.turns(len(teams), least=_LEAST_TURNS, runs=runs, progress=progress):
        for team in teams:
            team.count(team.turn())
    return [team.summary() for team in teams]


class _Sessions:
    """Sessions of one case, each called by its own thread."""

    def __init__(self, case: BenchmarkCase, images: UInt8Array) -> None:
        sessions = max(1, available_cpus() // case.segmenter.threads)
        case.require_memory(sessions=sessions)
        self._batch = case.batch
        self._segmenters = [case.segmenter, *(case.again().segmenter for _ in range(sessions - 1))]
        self._images = [to_channels(image, case.segmenter.contract.channels) for image in images]
        self._rates: list[float] = []
        self.latencies: list[float] = []

    def turn(self) -> list[list[float]]:
        """Run all sessions for one turn; return the seconds of their runs."""
        with ThreadPoolExecutor(len(self._segmenters)) as pool:
            return list(pool.map(self._work, self._segmenters))

    def count(self, turn: Sequence[Sequence[float]]) -> None:
        """Keep the times of a turn; its rate is the sum of the rates of the sessions."""
        self._rates.append(sum(len(times) * self._batch / sum(times) for times in turn))
        self.latencies += [seconds for times in turn for seconds in times]

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
