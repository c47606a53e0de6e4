"""The FP32 file of an export: converted, rewritten, compared with the network, measured, published.

Its convolutions are Winograd's (`passes.winograd`) where those were measured to be faster. They have fewer
multiplications and more steps, so whether they pay depends on the processor and the network: both forms are timed
interleaved, on one thread, as `predict` runs several sessions of one thread side by side.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import onnx

from segtool.array_types import AnyArray, UInt8Array
from segtool.benchmark.latency import compare_interleaved
from segtool.benchmark.statistics import Ratio
from segtool.contract import ModelContract
from segtool.evaluate.scoring import images_at_once
from segtool.export.gates import Parity, compare_parity
from segtool.export.heads import end_of, with_head
from segtool.export.job import FirstLabels, Job, measure
from segtool.export.passes import (
    CPU_REWRITES,
    FLOAT_REWRITES,
    SHARED_REWRITES,
    UPSAMPLING_REWRITES,
    WINOGRAD_REWRITES,
    Outcome,
    Rewrite,
    log_outcomes,
    rewrite,
)
from segtool.export.presets import is_own
from segtool.export.running import as_labels, as_probabilities, onnx_runner, save
from segtool.export.stamp import publish
from segtool.export.verdict import judge, useless
from segtool.machine.machine import machine_info

logger = logging.getLogger(__name__)
_ROUNDS, _FEWEST, _SECONDS = 40, 5, 4.0  # at most, at least, and as many as about so long
_NOTHING = (
    "--winograd on changed nothing: this network has no 3x3 convolution of 32 or more channels, in multiples of 16, "
    "right in front of a 2x2 max pooling; -v says what was refused."
)


@dataclass(frozen=True)
class Float32File:
    """A published FP32 file.

    Attributes
    ----------
    base
        Its graph before the rewrites that pay in float alone: what INT8 is made from.
    contract
        As published.
    score
        Foreground mean IoU, NaN where not measured.
    run
        Images to its output.
    digest
        SHA-256 of the file.
    labels
        Its labels on validation images.
    warned
        Warnings that were logged.
    """

    base: onnx.ModelProto
    contract: ModelContract
    score: float
    run: Callable[[UInt8Array], AnyArray]
    digest: str
    labels: FirstLabels
    warned: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Form:
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
        that has no convolution to rewrite. The file leaves the times out (`stamp.as_stored`).
    warning
        What could not be done as asked, if anything.
    """

    graph: onnx.ModelProto
    rewrites: tuple[Rewrite, ...]
    outcomes: tuple[Outcome, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None


def export_float32(job: Job) -> Float32File:
    """Rewrite, compare with the network, measure and publish.

    Raises
    ------
    ExportError
        The network, or its head, cannot be converted.
    GateError
        The graph does not give the outputs of the network.
    """
    options = job.options
    converted = job.network.graph
    job.stage("graph rewrites")
    base, shared = _rewritten(with_head(converted, options.head), job)
    # The gate compares a batch and single images, so it needs two.
    images = job.data.real_images(max(2, images_at_once(job.contract.size, most=options.parity_images)), job.contract)
    form = _form(base, images, job)
    warned = (form.warning,) if form.warning else ()
    for text in warned:
        logger.warning(text)
    log_outcomes((*shared, *form.outcomes))
    run, _ = onnx_runner(save(form.graph, job.folder / "float32.onnx"))
    labels = as_labels(run, job.contract.label_dtype)
    job.stage("parity")
    parity = judge(_parity(converted, form, images, run, job), waive=options.waive)
    first = FirstLabels()
    score, metrics = measure(first.keep(run, job.contract.label_dtype), job, stage="FP32 accuracy")
    if poor := useless({"float32": metrics}):
        logger.warning(poor)
    proven = replace(
        job.contract,
        convolutions=form.facts,
        metrics={"float32": metrics} if metrics else {},
        gates={"parity": parity},
    )
    digest = publish(form.graph, proven, job, job.target, labels)
    return Float32File(base, proven, score, run, digest, first, warned)


def _rewritten(graph: onnx.ModelProto, job: Job) -> tuple[onnx.ModelProto, tuple[Outcome, ...]]:
    """Rewrite a graph for both files."""
    base, shared = rewrite(graph, SHARED_REWRITES)
    if job.trained is not None:
        return base, shared
    base, upsampling = rewrite(base, UPSAMPLING_REWRITES)
    return base, (*shared, *upsampling)


def _parity(
    converted: onnx.ModelProto, form: _Form, images: UInt8Array, run: Callable[[UInt8Array], AnyArray], job: Job
) -> Parity:
    """Compare the graph that will be published with the network; where it gives labels, also its scores."""
    head, end = job.options.head, end_of(converted)
    probabilities = as_probabilities(run, head)
    if head == "labels":
        scores, _ = rewrite(_rewritten(converted, job)[0], form.rewrites)
        scored, _ = onnx_runner(save(scores, job.folder / "scores.onnx"))
        probabilities = as_probabilities(scored, end)
    return compare_parity(
        images,
        network=job.network.probabilities,
        probabilities=probabilities,
        labels=as_labels(run, job.contract.label_dtype),
    )


def _form(base: onnx.ModelProto, images: UInt8Array, job: Job) -> _Form:
    """Return the FP32 form of a graph that was rewritten for both files.

    Parameters
    ----------
    base
        With input ``image`` uint8 (N, H, W, C).
    images
        uint8 (N, H, W, C); the first is what both forms are timed on.
    job
        Its options say whether Winograd's form is taken, left or timed.
    """
    plain = FLOAT_REWRITES if job.options.triton_gpu else (*FLOAT_REWRITES, *CPU_REWRITES)
    graph, outcomes = rewrite(base, plain)
    direct = _Form(graph, plain, outcomes)
    if job.options.winograd == "off":
        return direct
    shorter, more = rewrite(graph, WINOGRAD_REWRITES)
    both = (*outcomes, *more)
    if not any(outcome.changes for outcome in more):
        return replace(direct, outcomes=both, warning=_NOTHING if job.options.winograd == "on" else None)
    winograd = _Form(shorter, (*plain, *WINOGRAD_REWRITES), both, {"algorithm": "winograd"})
    if job.options.winograd == "on":
        return winograd
    if not is_own(job.preset) or job.options.triton_gpu:
        return direct  # it is for another processor, where it was not timed
    job.stage("Winograd's convolutions")
    ratio = _speedup(direct.graph, shorter, images[:1], job)
    cpu = str(machine_info()["cpu"])
    facts = {"winograd_speedup": ratio.median, "low": ratio.low, "high": ratio.high, "threads": 1, "cpu": cpu}
    chosen = winograd if ratio.low > 1 else replace(direct, facts={"algorithm": "direct"})
    taken = "taken" if chosen is winograd else "not taken"
    logger.info("Winograd's convolutions are %.2f to %.2f times as fast: %s", ratio.low, ratio.high, taken)
    return replace(chosen, facts={**chosen.facts, **facts})


def _speedup(direct: onnx.ModelProto, shorter: onnx.ModelProto, image: UInt8Array, job: Job) -> Ratio:
    """Return the time of the direct form over that of Winograd's."""
    calls = [
        partial(onnx_runner(save(graph, job.folder / f"{name}.onnx"), threads=1)[0], image)
        for name, graph in (("direct", direct), ("winograd", shorter))
    ]
    calls[0]()  # the first run takes the memory
    begin = time.perf_counter()
    calls[0]()
    rounds = int(_SECONDS / 2 / (time.perf_counter() - begin))
    return compare_interleaved(*calls, rounds=max(_FEWEST, min(_ROUNDS, rounds)))
