"""The INT8 file of an export: quantized, held to the accuracy of FP32, timed against it, published.

Where INT8 loses too much, layers go back to float, the most sensitive first, until it holds: 1, 2, 4, ... of them, and
then fewer again by bisection. Where all but the last layer do not help, the gate refuses. Where the gate is waived, the
file is the one with every layer in INT8: layers in float that did not help would only make it slow.

Which layers is decided by calibration images, but how many by the validation images that the drop is then reported on.
Halving these would make both figures noisier, so the file, the report and the log say that such a drop is optimistic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtool.array_types import AnyArray, UInt8Array
from segtool.benchmark.latency import compare_interleaved
from segtool.benchmark.layers import measure_layers, slower_text
from segtool.contract import ModelContract
from segtool.errors import DataError, GateError
from segtool.evaluate.scoring import images_at_once
from segtool.export import gates
from segtool.export.float32_file import Float32File
from segtool.export.job import Job, measure
from segtool.export.options import MIN_PRUNING_IMAGES
from segtool.export.pruning import Pruned, prune
from segtool.export.quantize import Calibrated, Quantized, calibrate_for, quantize, sensitivities
from segtool.export.running import Batches, as_labels, keras_runner, onnx_runner, save
from segtool.export.stamp import publish
from segtool.export.trained import trained_calibration
from segtool.export.verdict import judge, optimistic, recommend, speed_warning
from segtool.text import counted

logger = logging.getLogger(__name__)
_NAMED = 5  # layers that a message names
_ROUNDS = 60  # pairs of runs that are timed


@dataclass(frozen=True)
class _Candidate:
    """A quantized model, how to run it, its foreground mean IoU and figures, and what the gate says of it."""

    quantized: Quantized
    run: Callable[[UInt8Array], AnyArray]
    threads: int
    metrics: dict[str, Any]
    accuracy: gates.Accuracy

    def after(self, others: int) -> _Candidate:
        """Return it as chosen after others that did not hold; where it does not hold either, nothing was chosen."""
        chosen = self.accuracy.candidates + others if _holds(self) else 1
        return replace(self, accuracy=replace(self.accuracy, candidates=chosen))


def export_int8(float32: Float32File, job: Job, target: Path) -> ModelContract:
    """Quantize, compare accuracy and speed with the published FP32 file, and publish.

    Raises
    ------
    GateError
        INT8 loses more than `max_drop` whatever is left in float, or is slower than FP32 on its own processor.
    """
    contract = float32.contract
    pruned = _pruned(float32, job)
    facts = _pruning_facts(pruned)
    found, sensitive, kept = _accurate(
        float32 if pruned is None else replace(float32, base=pruned.model), job, restore=pruned is None
    )
    if pruned is not None and not _holds(found):
        drop = found.accuracy.drop_points
        logger.warning(
            "INT8 loses %.2f points without the channels that were pruned, and may lose %g; it is made with all of "
            "them. Prune less, or allow more with --max-drop.",
            drop,
            job.options.max_drop,
        )
        facts = {"pruned": {"channels": {}, "macs_saved": 0.0, "lost_points": drop}}
        before = found.accuracy.candidates
        found, sensitive, kept = _accurate(float32, job)
        found = found.after(before)
    accuracy = _judge_accuracy(found, kept, job.options.waive)
    trained = _judge_trained(found, job)
    figures = {**contract.gates, **trained, "accuracy": accuracy, "speed": _judge_speed(float32, found, job)}
    if text := optimistic(accuracy):
        logger.warning(text)
    figures["speed"]["recommendation"] = recommend(figures).file
    proven = replace(
        contract,
        precision="int8",
        convolutions={},
        quantization={**_facts(found.quantized, job, float32.digest, sensitive), **facts},
        metrics={**contract.metrics, "int8": found.metrics},
        gates=figures,
    )
    publish(found.quantized.model, proven, job, target, as_labels(found.run, contract.label_dtype))
    return proven


def _pruned(float32: Float32File, job: Job) -> Pruned | None:
    """Return the graph without the channels that others can stand in for; None where that was not asked for."""
    allowed, contract = job.options.prune, float32.contract
    if allowed is None:
        return None
    count = job.options.images_to_prune_on(contract.size)
    batches = [*job.data.calibration(count, contract)]
    if (found := sum(map(len, batches))) < MIN_PRUNING_IMAGES:
        raise DataError(
            f"{job.data.dataset.name} has {found} training images to prune on, expected {MIN_PRUNING_IMAGES} or more: "
            "images show which channels are redundant; name more data with --data, or export without --prune. "
            "The FP32 file was written."
        )
    return prune(float32.base, batches, allowed=allowed / 100, progress=job.stage("pruning"))


def _pruning_facts(pruned: Pruned | None) -> dict[str, Any]:
    """Return what the contract says of the channels that are gone."""
    if pruned is None:
        return {}
    fitted, checked = pruned.images
    return {
        "pruned": {
            "channels": {name: list(counts) for name, counts in pruned.channels.items()},
            "macs_saved": pruned.macs_saved,
            "label_agreement": pruned.agreement,
            "images_fitted": fitted,
            "images_checked": checked,
        }
    }


def _judge_speed(float32: Float32File, found: _Candidate, job: Job) -> dict[str, Any]:
    """Time both files and return the figures; warn of what is not faster and not refused."""
    job.stage("speed")
    images = job.data.real_images(1, float32.contract)
    ratio = compare_interleaved(lambda: float32.run(images), lambda: found.run(images), rounds=_ROUNDS)
    speed = gates.describe_speed(ratio, threads=found.threads, preset=job.preset)
    slower = _slower_layers(found, job) if speed.verdict == "slower" and speed.on_target else ""
    try:
        record = judge(speed, waive=job.options.waive)
    except GateError as error:
        raise GateError(f"{error} {slower}".strip()) from error
    if speed.verdict != "faster" and "waived" not in record:
        logger.warning(speed_warning(record))
    if slower:
        logger.warning(slower)
    return record


def _slower_layers(found: _Candidate, job: Job) -> str:
    """Return the sentence on the layers that make an INT8 model slower than the published FP32 file."""
    int8 = save(found.quantized.model, job.folder / "slower.onnx")
    return slower_text(measure_layers(int8, job.target))


def _accurate(
    float32: Float32File, job: Job, *, restore: bool = True
) -> tuple[_Candidate, dict[str, float], list[str]]:
    """Return a candidate that keeps the accuracy, the one with all in INT8 where none does.

    With it come the sensitivities, where they were measured, and the layers that went back to float, or at last did
    and did not help: none without `restore`.
    """
    job.stage("calibration")
    calibrated = _calibrated(float32, job)
    first = _candidate(float32, job, calibrated)
    if not restore or job.trained or _holds(first):
        return first, {}, []
    sensitive = _sensitivities(calibrated, job)
    order, tried, best = list(sensitive), 0, first

    def holds(count: int) -> bool:
        nonlocal tried, best
        tried += 1
        found = _candidate(float32, job, calibrated, order[:count])
        logger.info("INT8 with %s in float loses %.2f points", counted(count, "layer"), found.accuracy.drop_points)
        if _holds(found):
            best = found
        return _holds(found)

    most = len(order) - 1
    count = fewest(holds, most=most)
    if count is None:
        return first, sensitive, order[:most]
    logger.warning(
        "INT8 loses %.2f points with all layers in INT8: %s stay%s in float.",
        first.accuracy.drop_points,
        ", ".join(order[:count]),
        "s" * (count == 1),
    )
    return best.after(tried), sensitive, order[:count]


def _calibrated(float32: Float32File, job: Job) -> Calibrated:
    """Return the calibration; with trained scales in place of its own, where the run has some."""
    base, batches, stages = float32.base, _batches(job), job.progress
    if job.trained is None:
        return calibrate_for(job.preset, base, batches, calibration=job.options.calibration, stages=stages)
    # What is inside of a layer of Keras, and so was not trained, has these ranges.
    plain = calibrate_for(job.preset, base, batches, calibration="min-max", strengths=(0.0,), stages=stages)
    return trained_calibration(job.trained, plain, base)


def _judge_trained(found: _Candidate, job: Job) -> dict[str, Any]:
    """Compare the labels with those of the network as it was trained; nothing without trained scales."""
    if job.trained is None:
        return {}
    from segtool.models.fake_quantization import fake_quantized

    job.stage("trained labels")
    images = job.data.real_images(images_at_once(job.contract.size, most=job.options.parity_images), job.contract)
    run = keras_runner(fake_quantized(job.trained.model, job.trained.quantization), batch=8)
    expected, labels = (as_labels(item, job.contract.label_dtype)(images) for item in (run, found.run))
    figures = gates.TrainedAgreement(gates.agreement(expected, labels), len(images))
    logger.info("INT8 has %.3f%% of the labels of the network as it was trained", figures.label_agreement * 100)
    return {"trained": judge(figures, waive=job.options.waive)}


def fewest(holds: Callable[[int], bool], *, most: int) -> int | None:
    """Return a number, 1 to `most`, that holds, and of those not many more than needed; None where `most` does not.

    Numbers are doubled until one holds, and then halved towards the last one that did not, until there is at most an
    eighth between the two: each costs a run over the validation images.

    Parameters
    ----------
    holds
        Whether a number does; where one does, larger ones are taken to.
    most
        The largest number.
    """
    low, high = 0, min(1, most)
    while high and not holds(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    while high - low > max(1, high // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high or None


def _candidate(float32: Float32File, job: Job, calibrated: Calibrated, keep_float: Collection[str] = ()) -> _Candidate:
    """Quantize a model and measure it; the gate does not refuse it yet."""
    quantized = quantize(calibrated, keep_float=keep_float, progress=job.stage("bias correction"))
    run, threads = onnx_runner(save(quantized.model, job.folder / "int8.onnx"))
    score, metrics = measure(float32.labels.compare(run), job, stage="INT8 accuracy")
    count, drop = int(job.data.split.val.size), job.options.max_drop
    accuracy = gates.compare_accuracy(
        float32.score, score, images=count, max_drop=drop, label_agreement=float32.labels.agreement
    )
    return _Candidate(quantized, run, threads, metrics, accuracy)


def _holds(candidate: _Candidate) -> bool:
    return candidate.accuracy.drop_points <= candidate.accuracy.max_drop


def _judge_accuracy(candidate: _Candidate, kept: Sequence[str], waive: Collection[str]) -> dict[str, Any]:
    """Return the figures of the accuracy gate; a refusal says which layers in float did not help."""
    try:
        return judge(candidate.accuracy, waive=waive)
    except GateError as error:
        if not kept:
            raise
        named = ", ".join(kept[:_NAMED]) + ", ..." * (len(kept) > _NAMED)
        raise GateError(f"{error} Returning {counted(len(kept), 'layer')} to float ({named}) did not help.") from error


def _sensitivities(calibrated: Calibrated, job: Job) -> dict[str, float]:
    found = sensitivities(calibrated, progress=job.stage("sensitivity of layers"))
    for name, share in found.items():
        logger.info("%s alone in INT8 changes the label of %.4f%% of the calibration pixels", name, share * 100)
    return found


def _batches(job: Job) -> Batches:
    count = job.options.images_to_calibrate(job.contract.size)

    def batches() -> Iterator[UInt8Array]:
        done = 0
        for batch in job.data.calibration(count, job.contract):
            yield batch
            done += len(batch)
            job.progress("calibration", done, count)

    return batches


def _facts(quantized: Quantized, job: Job, digest: str, sensitive: dict[str, float]) -> dict[str, Any]:
    """Return what the contract says of the quantization."""
    corrected = "" if job.trained else ", bias correction"
    calibrated = quantized.calibrated
    return {
        "preset": job.preset.name,
        "method": f"static QDQ, {calibrated.calibration}, per channel{corrected}",
        "equalization": calibrated.strength,
        "images": calibrated.images,
        "fingerprint": calibrated.fingerprint,
        "float32_sha256": digest,
        "layers": len(quantized.layers),
        "float_layers": list(quantized.float_layers),
        **({"sensitivities": sensitive} if sensitive else {}),
    }
