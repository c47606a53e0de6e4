"""Yes or no: what speaks for a model file on this machine and what against it, from the figures of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from segtool.report.page.words import data_name, milliseconds, percent, points, threads

Status = Literal["pass", "care", "fail", "unknown"]
Facts = Mapping[str, Any]

DEFAULT_MAX_DROP = 0.5  # points of foreground mean IoU that INT8 may lose, as `segtool export` has it
SAME_ACCURACY = 0.5  # points within which the faster of two models is the better choice
REPRODUCED = 0.1  # points that the same file may differ on the same images on another machine
MUCH_WORSE = 5.0  # points below the export's figure from which other data must be called harder
FEW_IMAGES = 50


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what, how it came out, in which figures, and what follows from them."""

    name: str
    status: Status
    text: str
    note: str = ""


def judge(model: Facts, pair: Facts | None) -> dict[str, Any]:
    """Return the verdict on one model: "yes", "care" (yes, but) or "no", and the checks behind it.

    Parameters
    ----------
    model
        An entry of the report's `models`.
    pair
        The entry of its `pairs` in which it is the INT8 file; None where there is none.
    """
    checks = [check for look in _LOOKS if (check := look(model, pair)) is not None]
    found = {check.status for check in checks}
    answer = "no" if "fail" in found else "care" if found & {"care", "unknown"} else "yes"
    return {"answer": answer, "checks": [asdict(check) for check in checks]}


def choose(models: Sequence[Facts]) -> int | None:
    """Return the id of the model to deploy; None where none may be.

    Of the models that are not refused and whose foreground mean IoU is within half a point of the best of these, it is
    the fastest, or the smallest where times were not measured. Those with open questions come after those without.
    """
    usable = [each for each in models if each["verdict"]["answer"] != "no" and _iou(each) == _iou(each)]
    if not usable:
        return None
    best = max(_iou(each) for each in usable)
    close = [each for each in usable if 100 * (best - _iou(each)) <= SAME_ACCURACY]
    return int(min(close, key=_cost)["id"])


def _cost(model: Facts) -> tuple[bool, float]:
    row = model["benchmark"]
    return row is None, float(row["latency_ms"]["p50"] if row else model["size_bytes"])


def _iou(model: Facts) -> float:
    return float(model["evaluation"]["foreground_mean_iou"])


def _kind(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001 - all looks are called alike
    if model["kind"] == "onnx":
        return None
    return Check("Model file", "fail", "This is a trained network, not a file for a device; run segtool export first.")


def _golden(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    golden = model["golden"]
    if golden is None:
        return None
    text = (
        f"{percent(golden['agreement'], 4)} % of {golden['pixels']:,} golden pixels have the label recorded at export"
    )
    needed = f"{percent(golden['required_agreement'])} % needed"
    return Check("Computes here what it should", "pass" if golden["passed"] else "fail", f"{text} ({needed}).")


def _parity(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    if model["kind"] != "onnx":
        return None
    gate = model["contract"]["gates"].get("parity")
    name = "Is the network that was trained"
    if not gate:
        return Check(name, "unknown", "Its contract records no comparison with the trained network.")
    text = (
        f"At export its probabilities differed from Keras by {gate['max_difference']:.1g} at most, and "
        f"{percent(gate['label_agreement'])} % of labels agreed, on {gate['images']} images."
    )
    if gate.get("waived"):
        return Check(name, "fail", text, "The parity gate refused and was waived, so nothing proves this file.")
    return Check(name, "pass", text)


def _reproduced(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    contract, evaluation = model["contract"], model["evaluation"]
    recorded = contract["metrics"].get(contract["precision"], {})
    if "foreground_mean_iou" not in recorded:
        return None
    here, there = _iou(model), float(recorded["foreground_mean_iou"])
    text = f"{percent(here)} % foreground mean IoU here; {percent(there)} % recorded at export"
    same = model["own_data"] and recorded.get("split") == evaluation["split"]
    if same and recorded.get("images") == evaluation["images"]:
        status: Status = "pass" if abs(100 * (here - there)) <= REPRODUCED else "fail"
        return Check("Scores what its export recorded", status, f"{text}, on the same {evaluation['images']} images.")
    worse = 100 * (there - here) > MUCH_WORSE
    on = f"on {recorded.get('images', 'its')} images of {recorded.get('data', 'other data')}"
    note = "It scores much less here than at its export: these images are harder, or of another kind." if worse else ""
    return Check("Scores on these images", "care" if worse else "pass", f"{text}, {on}.", note)


def _unseen(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    evaluation = model["evaluation"]
    count, split = evaluation["images"], evaluation["split"]
    name = "Scored on images it was not trained on"
    if model["own_data"] and split in ("train", "all"):
        return Check(name, "care", f"The part {split} of its own data has images that it was trained on: too friendly.")
    if not model["contract"]["data_fingerprint"]:
        return Check(name, "unknown", "The file does not say what it was trained on.")
    if count < FEW_IMAGES:
        return Check(name, "care", f"Only {count} images: too few to tell models apart.")
    chosen = model["own_data"] and split == "val"
    note = "They chose the best epoch; --split test is stricter." if chosen else ""
    return Check(name, "pass", f"{count} images, part {split} of {data_name(evaluation['data'])}.", note)


def _drop(model: Facts, pair: Facts | None) -> Check | None:
    contract = model["contract"]
    if contract["precision"] != "int8":
        return None
    name, gate = "INT8 keeps the accuracy", contract["gates"].get("accuracy", {})
    allowed = float(gate.get("max_drop", DEFAULT_MAX_DROP))
    if pair is None:
        if "drop_points" not in gate:
            return Check(name, "unknown", "No FP32 file to compare with was given, and none was recorded.")
        text = f"{points(-gate['drop_points'])} of foreground mean IoU against FP32, as recorded at export"
        passed = gate["drop_points"] <= allowed and not gate.get("waived")
        return Check(name, "pass" if passed else "fail", f"{text} (a loss of {allowed:g} allowed).")
    drop = pair["drop_points"]["foreground_mean_iou"]
    same = f"{percent(pair['agreement'], 4)} % of labels the same"
    text = f"{points(-drop)} of foreground mean IoU against FP32 here (a loss of {allowed:g} allowed), {same}."
    return Check(name, "pass" if drop <= allowed else "fail", text)


def _speed(model: Facts, pair: Facts | None) -> Check | None:
    contract = model["contract"]
    if contract["precision"] != "int8":
        return None
    name, speed = "INT8 is faster here", pair and pair["speed"]
    if not speed:
        gate = contract["gates"].get("speed")
        recorded = f"At export: {gate['sentence']}, on {gate['cpu']}." if gate else "Its export recorded no times."
        return Check(name, "unknown", recorded, "It was not timed against its FP32 file on this machine.")
    interval = f"{speed['low']:.2f} to {speed['high']:.2f} times as fast as FP32, measured in turns"
    if speed["low"] > 1:
        return Check(name, "pass", f"{interval}.")
    if speed["high"] < 1:
        return Check(name, "fail", f"{interval}.", "INT8 is slower than FP32 on this machine: use the FP32 file.")
    return Check(name, "care", f"{interval}.", "INT8 is not measurably faster than FP32 here.")


def _latency(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    row = model["benchmark"]
    if model["kind"] != "onnx":
        return None
    if row is None:
        return Check("Latency", "unknown", "Its times were not measured (--no-latency).")
    latency = row["latency_ms"]
    text = f"p50 {milliseconds(latency['p50'])}, p99 {milliseconds(latency['p99'])} over {row['n']} runs"
    noise = row["noise"]
    text = f"{text}, {threads(row['threads'])}, one image; against itself within {percent(noise['band'], 1)} %."
    note = "" if noise["quiet"] else "This machine was too busy to rank models by their times: measure again."
    return Check("Latency", "pass" if noise["quiet"] else "care", text, note)


_LOOKS: tuple[Callable[[Facts, Facts | None], Check | None], ...] = (
    _kind, _golden, _parity, _reproduced, _unseen, _drop, _speed, _latency,
)  # fmt: skip
