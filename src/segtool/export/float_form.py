"""The form of the FP32 graph: with Winograd's convolutions (`passes.winograd`) where they were measured to be faster.

They have fewer multiplications and more steps, so whether they pay depends on the processor and the network: both
forms are timed interleaved, on one thread, as `predict` runs several sessions of one thread side by side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx

from segtool.array_types import UInt8Array
from segtool.benchmark.latency import compare_interleaved
from segtool.benchmark.statistics import Ratio
from segtool.export.job import Job, save
from segtool.export.passes import FLOAT_REWRITES, WINOGRAD_REWRITES, Outcome, Rewrite, rewrite
from segtool.export.presets import is_own, preset_for
from segtool.export.runners import onnx_runner
from segtool.machine.machine import machine_info

logger = logging.getLogger(__name__)
_ROUNDS, _FEWEST, _SECONDS = 40, 5, 4.0  # at most, at least, and as many as about so long
_NOTHING = (
    "--winograd on changed nothing: this network has no 3x3 convolution of 32 or more channels, in multiples of 16, "
    "right in front of a 2x2 max pooling; -v says what was refused."
)


@dataclass(frozen=True)
class FloatForm:
    """The FP32 graph that is written.

    Attributes
    ----------
    graph
        The rewritten graph.
    rewrites
        What it was rewritten with, in order, after those that INT8 shares.
    outcomes
        What they did.
    facts
        For the contract: "algorithm" ("winograd" or "direct") and, where both were timed, how many times as fast
        Winograd's is ("winograd_speedup", "low", "high"), on how many "threads" of which "cpu"; empty for a network
        that has no convolution to rewrite. The file leaves the times out (`verdict.as_stored`).
    warning
        What could not be done as asked, if anything.
    """

    graph: onnx.ModelProto
    rewrites: tuple[Rewrite, ...]
    outcomes: tuple[Outcome, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None


def float_form(base: onnx.ModelProto, images: UInt8Array, job: Job) -> FloatForm:
    """Return the FP32 form of a graph that was rewritten by `SHARED_REWRITES`.

    Parameters
    ----------
    base
        With input ``image`` uint8 (N, H, W, C).
    images
        uint8 (N, H, W, C); the first is what both forms are timed on.
    job
        Its options say whether Winograd's form is taken, left or timed.
    """
    graph, outcomes = rewrite(base, FLOAT_REWRITES)
    direct = FloatForm(graph, FLOAT_REWRITES, outcomes)
    if job.options.winograd == "off":
        return direct
    shorter, more = rewrite(graph, WINOGRAD_REWRITES)
    if not any(outcome.changes for outcome in more):
        warning = _NOTHING if job.options.winograd == "on" else None
        return FloatForm(graph, FLOAT_REWRITES, (*outcomes, *more), warning=warning)
    both, every = (*outcomes, *more), (*FLOAT_REWRITES, *WINOGRAD_REWRITES)
    if job.options.winograd == "on":
        return FloatForm(shorter, every, both, {"algorithm": "winograd"})
    if not is_own(preset_for(job.options.preset)):
        return direct  # it is for another processor, where it was not timed
    ratio = _speedup(direct.graph, shorter, images[:1], job)
    cpu = str(machine_info()["cpu"])
    facts = {"winograd_speedup": ratio.median, "low": ratio.low, "high": ratio.high, "threads": 1, "cpu": cpu}
    taken = "taken" if ratio.low > 1 else "not taken"
    logger.info("Winograd's convolutions are %.2f to %.2f times as fast: %s", ratio.low, ratio.high, taken)
    if ratio.low <= 1:
        return FloatForm(graph, FLOAT_REWRITES, outcomes, {"algorithm": "direct", **facts})
    return FloatForm(shorter, every, both, {"algorithm": "winograd", **facts})


def _speedup(direct: onnx.ModelProto, shorter: onnx.ModelProto, image: UInt8Array, job: Job) -> Ratio:
    """Return the time of the direct form over that of Winograd's."""
    calls = [
        _call(onnx_runner(save(graph, job.folder / f"{name}.onnx"), threads=1)[0], image)
        for name, graph in (("direct", direct), ("winograd", shorter))
    ]
    calls[0]()  # the first run takes the memory
    begin = time.perf_counter()
    calls[0]()
    rounds = int(_SECONDS / 2 / (time.perf_counter() - begin))
    return compare_interleaved(*calls, rounds=max(_FEWEST, min(_ROUNDS, rounds)))


def _call(run: Callable[[UInt8Array], Any], image: UInt8Array) -> Callable[[], Any]:
    return lambda: run(image)
