"""The verdict on a model file on this machine, yes or no, from the figures of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from segtool.report.page import score_checks
from segtool.report.page.score_checks import Check
from segtool.text import count_of, data_name, milliseconds, percent, points, threads

Facts = Mapping[str, Any]

DEFAULT_MAX_DROP = 0.5  # points of foreground mean IoU that INT8 may lose; the default of `segtool export`
SAME_ACCURACY = 0.5  # models within this many points count as equally accurate


def judge(model: Facts, pair: Facts | None) -> dict[str, Any]:
    """Return the verdict on one model: "yes", "care" (yes, but) or "no", and its checks.

    Parameters
    ----------
    model
        An entry of the report's `models`.
    pair
        The entry of `pairs` in which it is the INT8 file; None if there is none.
    """
    checks = [check for run in _CHECKS if (check := run(model, pair)) is not None]
    found = {check.status for check in checks}
    answer = "no" if "fail" in found else "care" if found & {"care", "unknown"} else "yes"
    return {"answer": answer, "checks": [asdict(check) for check in checks]}


def choose(models: Sequence[Facts]) -> int | None:
    """Return the id of the model to deploy; None if all are refused.

    Candidates are the accepted models whose foreground mean IoU is within half a point of the best. The fastest is
    chosen, or the smallest if times were not measured. Models without a measured time rank last.
    """
    usable = [each for each in models if each["verdict"]["answer"] != "no" and _iou(each) == _iou(each)]
    if not usable:
        return None
    best = max(_iou(each) for each in usable)
    close = [each for each in usable if 100 * (best - _iou(each)) <= SAME_ACCURACY]
    return int(min(close, key=_cost)["id"])


def incomparable(models: Sequence[Facts]) -> str:
    """Return why the accuracies of the accepted models are not comparable; empty if they are."""
    usable = [each for each in models if each["verdict"]["answer"] != "no"]
    if len({_images_of(each) for each in usable}) > 1:
        scored = "; ".join(f"{each['label']} on {_scored_on(each['evaluation'])}" for each in usable)
        return (
            f"The models were scored on different images ({scored}), so their accuracies are not comparable and no "
            "model is named best; pass --data to score all on the same images."
        )
    seen = [each for each in usable if each["trained_on"]]
    if not seen or len(seen) == len(usable):
        return ""
    return (
        f"{', '.join(each['label'] for each in seen)} had some of these images in the training and other models did "
        "not, so their accuracies are not comparable and no model is named best; pass other images with --data."
    )


def _images_of(model: Facts) -> tuple[str, frozenset[int]]:
    return model["evaluation"]["data_fingerprint"], frozenset(each["index"] for each in model["per_image"])


def _scored_on(evaluation: Facts) -> str:
    return f"{count_of(evaluation['images'])} of {data_name(evaluation['data'])}, part {evaluation['split']}"


def _cost(model: Facts) -> tuple[bool, float]:
    row = model["benchmark"]
    return row is None, float(row["latency_ms"]["p50"] if row else model["size_bytes"])


def _iou(model: Facts) -> float:
    return float(model["evaluation"]["foreground_mean_iou"])


def _kind(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001 - all checks have one signature
    if model["kind"] == "onnx":
        return None
    return Check(
        "Model file", "fail", "This is a trained network, not an exported file for a device; run segtool export first."
    )


def _golden(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    golden = model["golden"]
    if golden is None:
        return None
    text = (
        f"{percent(golden['agreement'], 4)} % of {golden['pixels']:,} golden pixels have the label recorded at export"
    )
    needed = f"{percent(golden['required_agreement'])} % needed"
    return Check("Reproduces its golden labels here", "pass" if golden["passed"] else "fail", f"{text} ({needed}).")


def _parity(model: Facts, pair: Facts | None) -> Check | None:  # noqa: ARG001
    if model["kind"] != "onnx":
        return None
    gate = model["contract"]["gates"].get("parity")
    name = "Matches the trained network"
    if not gate:
        return Check(name, "unknown", "Its contract records no comparison with the trained network.")
    text = (
        f"At export its probabilities differed from Keras by at most {gate['max_difference']:.1g}, and "
        f"{percent(gate['label_agreement'])} % of labels agreed, on {gate['images']} images."
    )
    if gate.get("waived"):
        return Check(name, "fail", text, "The parity gate failed and was waived, so this file is not verified.")
    return Check(name, "pass", text)


def _drop(model: Facts, pair: Facts | None) -> Check | None:
    contract = model["contract"]
    if contract["precision"] != "int8":
        return None
    name, gate = "INT8 keeps the accuracy", contract["gates"].get("accuracy", {})
    allowed = float(gate.get("max_drop", DEFAULT_MAX_DROP))
    if pair is None:
        if "drop_points" not in gate:
            return Check(name, "unknown", "No FP32 file was given for a comparison, and the export recorded none.")
        text = f"{points(-gate['drop_points'])} of foreground mean IoU against FP32, as recorded at export"
        passed = gate["drop_points"] <= allowed and not gate.get("waived")
        return Check(name, "pass" if passed else "fail", f"{text} (a loss of {allowed:g} allowed).")
    drop = pair["drop_points"]["foreground_mean_iou"]
    same = f"{percent(pair['agreement'], 4)} % of labels are the same"
    text = f"{points(-drop)} of foreground mean IoU against FP32 here (a loss of {allowed:g} allowed), {same}."
    return Check(name, "pass" if drop <= allowed else "fail", text)


def _speed(model: Facts, pair: Facts | None) -> Check | None:
    contract = model["contract"]
    if contract["precision"] != "int8":
        return None
    name, speed = "INT8 is faster here", pair and pair["speed"]
    if not speed:
        gate = contract["gates"].get("speed")
        recorded = f"At export: {gate['sentence']}, on {gate['cpu']}." if gate else "Its export recorded no latency."
        return Check(name, "unknown", recorded, "It was not timed against its FP32 file on this machine.")
    interval = f"{speed['low']:.2f} to {speed['high']:.2f} times as fast as FP32, measured interleaved"
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
        return Check("Latency", "unknown", "Latency was not measured (--no-latency).")
    latency = row["latency_ms"]
    text = f"p50 {milliseconds(latency['p50'])}, p99 {milliseconds(latency['p99'])} over {row['n']} runs"
    noise = row["noise"]
    text = f"{text}, {threads(row['threads'])}, one image; repeated runs agree within {percent(noise['band'], 1)} %."
    note = "" if noise["quiet"] else "This machine was too busy to rank models by latency: measure again."
    return Check("Latency", "pass" if noise["quiet"] else "care", text, note)


_CHECKS: tuple[Callable[[Facts, Facts | None], Check | None], ...] = (
    _kind,
    _golden,
    _parity,
    lambda model, _: score_checks.better_than_constant(model),
    lambda model, _: score_checks.as_exported(model),
    lambda model, _: score_checks.unseen(model),
    lambda model, _: score_checks.enough(model),
    _drop,
    _speed,
    _latency,
)
