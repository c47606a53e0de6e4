"""The INT8 file of an export: quantized, held to the accuracy of FP32, timed against it, published.

Where INT8 loses too much, layers go back to float one by one, the most sensitive first, until it holds; where even
the last layer does not help, the gate refuses. Where the gate is waived, the file is the one with every layer in INT8:
layers in float that did not help would only make it slow.

Which layers is decided by calibration images, but how many by the validation images that the drop is then reported on.
Halving these would make both figures noisier, so the file, the report and the log say that such a drop is optimistic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtool.array_types import AnyArray, UInt8Array
from segtool.contract import ModelContract
from segtool.errors import DataError, GateError
from segtool.export import gates
from segtool.export.data import images_at_once
from segtool.export.gates import measure_speed
from segtool.export.job import Job, Made, measure, publish, save
from segtool.export.options import MIN_PRUNING_IMAGES
from segtool.export.presets import Preset
from segtool.export.pruning import Pruned, prune
from segtool.export.quantize import Batches, Quantized, layers_of, quantize, sensitivities
from segtool.export.runners import as_labels, onnx_runner
from segtool.export.verdict import judge, optimistic, recommend, speed_warning

logger = logging.getLogger(__name__)


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


def export_int8(made: Made, job: Job, preset: Preset, target: Path) -> ModelContract:
    """Quantize, compare accuracy and speed with the published FP32 file, and publish.

    Raises
    ------
    GateError
        INT8 loses more than `max_drop` whatever is left in float, or is slower than FP32 on its own processor.
    """
    contract = made.contract
    pruned = _pruned(made, job)
    facts = _pruning_facts(pruned)
    found, sensitive, kept = _accurate(
        made if pruned is None else replace(made, base=pruned.model), job, preset, restore=pruned is None
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
        found, sensitive, kept = _accurate(made, job, preset)
        found = found.after(before)
    accuracy = _judge_accuracy(found, kept, job.options.waive)
    figures = {**contract.gates, "accuracy": accuracy, "speed": _judge_speed(made, found, job, preset)}
    if text := optimistic(accuracy):
        logger.warning(text)
    figures["speed"]["recommendation"] = recommend(figures).file
    proven = replace(
        contract,
        precision="int8",
        convolutions={},
        quantization={**_facts(found.quantized, job, preset, made.digest, sensitive), **facts},
        metrics={**contract.metrics, "int8": found.metrics},
        gates=figures,
    )
    publish(found.quantized.model, proven, job, target, as_labels(found.run, contract.label_dtype))
    return proven


def _pruned(made: Made, job: Job) -> Pruned | None:
    """Return the graph without the channels that others can stand in for; None where that was not asked for."""
    allowed, contract = job.options.prune, made.contract
    if allowed is None:
        return None
    count = job.options.images_to_prune_on((contract.height, contract.width))
    batches = [*job.data.calibration(count, contract)]
    if (found := sum(map(len, batches))) < MIN_PRUNING_IMAGES:
        raise DataError(
            f"{job.data.dataset.name} has {found} training images to prune on, expected {MIN_PRUNING_IMAGES} or more: "
            "images show which channels are redundant; name more data with --data, or export without --prune. "
            "The FP32 file was written."
        )
    return prune(made.base, batches, allowed=allowed / 100, progress=job.progress)


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


def _judge_speed(made: Made, found: _Candidate, job: Job, preset: Preset) -> dict[str, Any]:
    """Time both files and return the figures; warn of what is not faster and not refused."""
    images = job.data.real_images(1, made.contract)
    speed = measure_speed(lambda: made.run(images), lambda: found.run(images), threads=found.threads, preset=preset)
    record = judge(speed, waive=job.options.waive)
    if speed.verdict != "faster" and "waived" not in record:
        logger.warning(speed_warning(record))
    return record


def _accurate(
    made: Made, job: Job, preset: Preset, *, restore: bool = True
) -> tuple[_Candidate, dict[str, float], list[str]]:
    """Return the first candidate that keeps the accuracy, the one with all in INT8 where none does.

    With it come the sensitivities, where they were measured, and the layers that went back to float: none without
    `restore`.
    """
    batches = _batches(made, job)
    first = _candidate(made, job, quantize(made.base, batches, preset=preset, calibration=job.options.calibration))
    found, sensitive = first, dict[str, float]()
    if restore and not _holds(found):
        sensitive = _sensitivities(made, job, preset, found.quantized.strength)
    kept: list[str] = []
    for name in sensitive:
        if _holds(found) or len(kept) + 1 == len(sensitive):
            break
        kept.append(name)
        logger.warning("INT8 loses %.2f points; %s stays in float.", found.accuracy.drop_points, name)
        again = quantize(
            made.base,
            batches,
            preset=preset,
            calibration=job.options.calibration,
            keep_float=kept,
            strengths=[found.quantized.strength],
        )
        found = _candidate(made, job, again)
    return found.after(len(kept)) if _holds(found) else first, sensitive, kept


def _candidate(made: Made, job: Job, quantized: Quantized) -> _Candidate:
    """Measure a quantized model; the gate does not refuse it yet."""
    contract = made.contract
    run, threads = onnx_runner(save(quantized.model, job.folder / "int8.onnx"))
    labels = as_labels(run, contract.label_dtype)
    score, metrics = measure(run, job, contract)
    images = job.data.real_images(images_at_once(contract, most=job.options.parity_images), contract)
    agreement = gates.agreement(as_labels(made.run, contract.label_dtype)(images), labels(images))
    count, drop = int(job.data.split.val.size), job.options.max_drop
    accuracy = gates.compare_accuracy(made.score, score, images=count, max_drop=drop, label_agreement=agreement)
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
        raise GateError(f"{error} Returning {len(kept)} layers to float ({', '.join(kept)}) did not help.") from error


def _sensitivities(made: Made, job: Job, preset: Preset, strength: float) -> dict[str, float]:
    found = sensitivities(
        made.base,
        _batches(made, job),
        preset=preset,
        calibration=job.options.calibration,
        strength=strength,
        layers=layers_of(made.base),
    )
    for name, share in found.items():
        logger.info("%s alone in INT8 changes the label of %.4f%% of the calibration pixels", name, share * 100)
    return found


def _batches(made: Made, job: Job) -> Batches:
    count = job.options.images_to_calibrate((made.contract.height, made.contract.width))
    return lambda: job.data.calibration(count, made.contract)


def _facts(quantized: Quantized, job: Job, preset: Preset, digest: str, sensitive: dict[str, float]) -> dict[str, Any]:
    """Return what the contract says of the quantization."""
    return {
        "preset": preset.name,
        "method": f"static QDQ, {job.options.calibration}, per channel, bias correction",
        "equalization": quantized.strength,
        "images": quantized.images,
        "fingerprint": quantized.fingerprint,
        "float32_sha256": digest,
        "layers": len(quantized.layers),
        "float_layers": list(quantized.float_layers),
        **({"sensitivities": sensitive} if sensitive else {}),
    }
