"""The verdict on a model file on this machine, yes or no, from the figures of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from segtool.metrics import most_frequent
from segtool.report.model_charts import interval_of
from segtool.text import counted, data_name, milliseconds, percent, points, threads

Facts = Mapping[str, Any]
Status = Literal["pass", "note", "care", "fail", "unknown"]

DEFAULT_MAX_DROP = 0.5  # points of foreground mean IoU that INT8 may lose; the default of `segtool export`
SAME_ACCURACY = 0.5  # models within this many points count as equally accurate
_REPRODUCED = 0.1  # allowed difference in points for the same file and images on another machine
_MUCH_WORSE = 5.0  # a score on other data this many points below that of the export needs care
_FEW_IMAGES = 50


@dataclass(frozen=True)
class Check:
    """One check of a model: its figures in words, and a note on their meaning; "note" changes no verdict of yes."""

    name: str
    status: Status
    text: str
    note: str = ""


def judge(model: Facts, pair: Facts | None) -> dict[str, Any]:
    """Return the verdict on one model: "yes", "care" (yes, but) or "no", and its checks.

    Parameters
    ----------
    model
        An entry of the report's `models`.
    pair
        The entry of `pairs` in which it is the INT8 file; None if there is none.
    """
    checks = list(_checks(model, pair))
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
    seen = [each for each in usable if each["trained_on"]]
    if not seen or len(seen) == len(usable):
        return ""
    return (
        f"{', '.join(each['label'] for each in seen)} had some of these images in the training and other models did "
        "not, so their accuracies are not comparable and no model is named best; pass other images with --data."
    )


def _cost(model: Facts) -> tuple[bool, float]:
    row = model["benchmark"]
    return row is None, float(row["latency_ms"]["p50"] if row else model["size_bytes"])


def _iou(model: Facts) -> float:
    return float(model["evaluation"]["foreground_mean_iou"])


def _checks(model: Facts, pair: Facts | None) -> Iterator[Check]:
    """Yield the checks that apply to a model."""
    exported, gates = model["kind"] == "onnx", model["contract"]["gates"]
    if exported:
        yield _golden(model["golden"])
        yield _parity(gates.get("parity"))
    else:
        text = "This is a trained network, not an exported file for a device; run segtool export first."
        yield Check("Model file", "fail", text)
    yield from _better_than_constant(model["evaluation"])
    yield from _as_exported(model)
    yield _unseen(model)
    count = model["evaluation"]["images"]
    if count < _FEW_IMAGES:
        yield Check("Number of images", "care", f"Only {counted(count, 'image')}, which is too few to compare models.")
    if model["contract"]["precision"] == "int8":
        yield _drop(gates.get("accuracy", {}), pair)
        yield _speed(gates.get("speed"), pair and pair["speed"])
    if exported:
        yield _latency(model["benchmark"])


def _golden(golden: Facts) -> Check:
    text = (
        f"{percent(golden['agreement'], 4)} % of {golden['pixels']:,} golden pixels have the label recorded at export "
        f"({percent(golden['required_agreement'])} % needed)."
    )
    return Check("Reproduces its golden labels here", "pass" if golden["passed"] else "fail", text)


def _parity(gate: Facts | None) -> Check:
    name = "Matches the trained network"
    if not gate:
        return Check(name, "unknown", "Its contract records no comparison with the trained network.")
    text = (
        f"At export its probabilities differed from those of the network by at most {gate['max_difference']:.1g}, and "
        f"{percent(gate['label_agreement'])} % of labels agreed, on {counted(gate['images'], 'image')}."
    )
    if gate.get("waived"):
        return Check(name, "fail", text, "The parity gate failed and was waived, so this file is not verified.")
    return Check(name, "pass", text)


def _better_than_constant(evaluation: Facts) -> Iterator[Check]:
    """Compare a model with a constant prediction of the most frequent class of the truth, if any pixel counts."""
    trivial, found = most_frequent(evaluation["classes"]), evaluation["pixel_accuracy"]
    if trivial is None:
        return
    usual, constant = trivial
    name = "Better than a constant prediction"
    text = f"{percent(found)} % of the pixels are correct; {usual} everywhere would have {percent(constant)} %."
    if constant == 1:
        yield Check(name, "unknown", f"The truth of these images is only {usual}, which needs no model.")
    elif found > constant:
        yield Check(name, "pass", text)
    else:
        yield Check(name, "fail", text, f"It is no better than a constant prediction of {usual}.")


def _as_exported(model: Facts) -> Iterator[Check]:
    """Compare the score with that of the export, if recorded; on the same images they must be equal."""
    contract, evaluation = model["contract"], model["evaluation"]
    recorded = contract["metrics"].get(contract["precision"], {})
    if recorded.get("foreground_mean_iou") is None:
        return
    here, there = float(evaluation["foreground_mean_iou"]), float(recorded["foreground_mean_iou"])
    text = f"{percent(here)} % foreground mean IoU here; {percent(there)} % recorded at export"
    same = model["own_data"] and recorded.get("split") == evaluation["split"]
    if same and recorded.get("images") == evaluation["images"]:
        status: Status = "pass" if abs(100 * (here - there)) <= _REPRODUCED else "fail"
        text = f"{text}, on the same {counted(evaluation['images'], 'image')}."
        yield Check("Reproduces the score of its export", status, text)
    else:
        on = f"on {recorded.get('images', 'its')} images of {recorded.get('data', 'other data')}"
        yield _elsewhere(evaluation, 100 * there, lost=100 * (there - here), text=f"{text}, {on}.")


def _elsewhere(evaluation: Facts, there: float, *, lost: float, text: str) -> Check:
    """Compare the score with that on other images, in percent; a part of the difference may be chance."""
    name, interval = "Scores on these images", interval_of(evaluation, "foreground_mean_iou")
    chance = interval is not None and interval[0] <= there <= interval[1]
    if chance and interval is not None:
        low, high = (percent(end / 100) for end in interval)
        text = f"{text} The 95 % interval here, {low} to {high}, contains this score."
    if evaluation["images"] < _FEW_IMAGES and (chance or interval is None):
        few = counted(evaluation["images"], "image")
        return Check(
            name, "unknown", text, f"Too few images ({few}) to decide whether it scores lower than at its export."
        )
    if lost > _MUCH_WORSE and not chance:
        harder = "It scores much lower here than at its export: these images are harder, or of another kind."
        return Check(name, "care", text, harder)
    return Check(name, "pass", text)


def _unseen(model: Facts) -> Check:
    """Check whether the model was trained on these images; this is known only for its own training data."""
    evaluation, trained_on = model["evaluation"], model["trained_on"]
    count, data = counted(evaluation["images"], "image"), data_name(evaluation["data"])
    if trained_on is not None:
        name = "Scored on images it was not trained on"
        if trained_on:
            text = f"{trained_on} of these {count} were in its training, so the score is too high."
            return Check(name, "care", text)
        note = "They selected the best epoch; --split test is stricter." if evaluation["split"] == "val" else ""
        return Check(name, "pass", f"{count}, part {evaluation['split']} of {data}.", note)
    name = "Trained on these images or not"
    if not model["contract"]["data_fingerprint"]:
        return Check(name, "unknown", "The file does not record its training data.")
    if model["own_data"]:
        text = f"It was trained on {data}, and the file does not record which images were held out."
        return Check(name, "unknown", text)
    text = f"{data} has another fingerprint than its training data, so it is another data set."
    return Check(name, "note", text, "Whether single images of it were in the training is not known.")


def _drop(gate: Facts, pair: Facts | None) -> Check:
    name, allowed = "INT8 keeps the accuracy", float(gate.get("max_drop", DEFAULT_MAX_DROP))
    if pair is not None:
        drop, same = pair["drop_points"]["foreground_mean_iou"], f"{percent(pair['agreement'], 4)} %"
        passed, where = drop <= allowed, f"FP32 here (a loss of {allowed:g} allowed), {same} of labels are the same."
    elif "drop_points" in gate:
        drop = gate["drop_points"]
        passed = drop <= allowed and not gate.get("waived")
        where = f"FP32, as recorded at export (a loss of {allowed:g} allowed)."
    else:
        return Check(name, "unknown", "No FP32 file was given for a comparison, and the export recorded none.")
    return Check(name, "pass" if passed else "fail", f"{points(-drop)} of foreground mean IoU against {where}")


def _speed(gate: Facts | None, speed: Facts | None) -> Check:
    name = "INT8 is faster here"
    if not speed:
        recorded = f"At export: {gate['sentence']}, on {gate['cpu']}." if gate else "Its export recorded no latency."
        return Check(name, "unknown", recorded, "It was not timed against its FP32 file on this machine.")
    interval = f"{speed['low']:.2f} to {speed['high']:.2f} times as fast as FP32, measured interleaved."
    if speed["low"] > 1:
        return Check(name, "pass", interval)
    if speed["high"] < 1:
        return Check(name, "fail", interval, "INT8 is slower than FP32 on this machine: use the FP32 file.")
    return Check(name, "care", interval, "INT8 is not measurably faster than FP32 here.")


def _latency(row: Facts | None) -> Check:
    if row is None:
        return Check("Latency", "unknown", "Latency was not measured (--no-latency).")
    latency, noise = row["latency_ms"], row["noise"]
    text = (
        f"p50 {milliseconds(latency['p50'])}, p99 {milliseconds(latency['p99'])} over {row['n']} runs, "
        f"{threads(row['threads'])}, one image; repeated runs agree within {percent(noise['band'], 1)} %."
    )
    if noise["quiet"]:
        return Check("Latency", "pass", text)
    return Check("Latency", "care", text, "This machine was too busy to rank models by latency: measure again.")
