"""From the times and labels of a comparison to its figures: percentiles, ratios with intervals, accuracy, targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.metrics import Scores, confusion_matrix

Turns = Sequence[Sequence[float]]
"""Seconds of every timed run, a sequence for each round."""


def latency_ms(turns: Turns) -> dict[str, float]:
    """Return p50, p90, p99, mean and min of all runs, in milliseconds, none taken out."""
    found = percentiles(np.concatenate([np.asarray(turn) for turn in turns]) * 1e3)
    return {name: value for name, value in found.items() if value is not None}


def ratio(turns: Turns, reference: Turns) -> dict[str, float]:
    """Return how long one takes in units of another: median over the rounds, with its bootstrap 95 % interval.

    Parameters
    ----------
    turns, reference
        Of the same rounds; each round gives one ratio, that of its two medians.
    """
    pairs = zip(turns, reference, strict=True)
    return asdict(ratio_of(np.array([np.median(one) / np.median(other) for one, other in pairs])))


def accuracy(
    labels: npt.NDArray[np.uint8],
    *,
    truth: npt.NDArray[np.uint8],
    keras: npt.NDArray[np.uint8],
    facts: Mapping[str, Any],
) -> dict[str, float]:
    """Return label agreement with Keras, mean IoU (of all classes and of the foreground) and pixel accuracy, each 0..1.

    Parameters
    ----------
    labels, truth, keras
        Class ids (m, H, W) of the engine, of the data and of Keras.
    facts
        `classes`, `background_id` and `ignore_id` of the data.
    """
    matrix = confusion_matrix(truth, labels, len(facts["classes"]), ignore_id=facts["ignore_id"])
    scores = Scores.from_matrix(
        matrix, class_names=facts["classes"], background_id=facts["background_id"], images=len(truth)
    )
    return {
        "label_agreement": float(np.mean(labels == keras)),
        "mean_iou": scores.mean_iou,
        "foreground_mean_iou": scores.foreground_mean_iou,
        "pixel_accuracy": scores.pixel_accuracy,
    }


def share_of_peak(
    macs: Mapping[str, int], p50_ms: Mapping[str, float], peak: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Return what share of the best matrix product each precision of ours reaches.

    Parameters
    ----------
    macs
        Multiply-accumulates of one image: of the `network`, and of what `ours` leaves of them.
    p50_ms, peak
        Median latency and best product, by precision.

    Returns
    -------
    dict
        By precision: `gmacs_per_second` and its `share`, of the work that the network asks for; `share_done`, of
        the work that is left to do.
    """
    rates = {precision: macs["network"] / (p50_ms[precision] * 1e6) for precision in peak}
    shares = {precision: rate / peak[precision]["gmacs_per_second"] for precision, rate in rates.items()}
    left = macs["ours"] / macs["network"]
    return {
        precision: {"gmacs_per_second": rates[precision], "share": share, "share_done": share * left}
        for precision, share in shares.items()
    }


def best_products(names: Sequence[tuple[str, str, tuple[int, int, int]]], turns: Turns) -> dict[str, dict[str, Any]]:
    """Return for each precision the product with the most multiply-accumulates a second, by its median time."""
    medians = np.median(np.asarray(turns), axis=0)
    best: dict[str, dict[str, Any]] = {}
    for (precision, library, shape), seconds in zip(names, medians.tolist(), strict=True):
        rate = float(np.prod(shape)) / seconds / 1e9
        entry = {"gmacs_per_second": rate, "library": library, "m_k_n": list(shape)}
        best[precision] = max(best.get(precision, entry), entry, key=lambda item: float(item["gmacs_per_second"]))
    return best


def images_per_second(seconds: npt.NDArray[np.float64], images: int) -> dict[str, float]:
    """Return the median rate over turns of `images` images each, with its bootstrap 95 % interval."""
    return asdict(ratio_of(images / seconds))


@dataclass(frozen=True)
class SpeedTarget:
    """A limit on the time of `ours` in units of each of `others`, at a number of threads."""

    ours: str
    others: tuple[str, ...]
    limit: float
    threads: int


_FLOAT32 = ("openvino-fp32", "litert-fp32", "keras", "tf-function", "tf-xla")
_OTHER_INT8 = ("openvino-int8", "litert-int8")
OURS_INT8 = ("ours-int8", "ours-int8-pruned")
SPEED_TARGETS = (
    SpeedTarget("ours-fp32", ("stock-fp32",), 0.90, 1),
    SpeedTarget("ours-fp32", _FLOAT32, 1.00, 1),
    *(
        target
        for ours in OURS_INT8
        for target in (
            SpeedTarget(ours, ("stock-fp32",), 0.25, 1),
            SpeedTarget(ours, ("stock-int8",), 0.65, 1),
            SpeedTarget(ours, _OTHER_INT8, 0.88, 1),
            SpeedTarget(ours, ("stock-int8", *_OTHER_INT8), 1.00, 2),
        )
    ),
)


def speed_targets(turns: Mapping[tuple[str, int], Turns]) -> list[dict[str, Any]]:
    """Return for each target with its engine measured the ratio to each other engine, and whether all are met.

    Parameters
    ----------
    turns
        By engine and number of threads.
    """
    return [
        {
            "target": f"{target.ours} at most {target.limit:.2f} of {other}, {target.threads} thread(s)",
            "ratio": (found := ratio(turns[target.ours, target.threads], turns[other, target.threads])),
            "met": found["median"] <= target.limit,
        }
        for target in SPEED_TARGETS
        for other in target.others
        if (target.ours, target.threads) in turns and (other, target.threads) in turns
    ]


def other_targets(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the targets on sizes and accuracy, from the rows of the table."""
    by_key = {row["engine"]: row for row in rows}
    ours = by_key["ours-fp32"]
    found = [("FP32 file at most 19 MB", ours["size_bytes"] / 1e6, ours["size_bytes"] <= 19e6)]
    for key in OURS_INT8:
        if key in by_key:
            found += _int8_targets(ours, by_key[key])
    return [{"target": text, "found": value, "met": met} for text, value, met in found]


def _int8_targets(ours: Mapping[str, Any], int8: Mapping[str, Any]) -> list[tuple[str, float, bool]]:
    """Return the targets on size and accuracy of an INT8 file of ours: what, what was found, and whether it is met."""
    name, megabytes = int8["engine"], int8["size_bytes"] / 1e6
    drop = 100 * (ours["foreground_mean_iou"] - int8["foreground_mean_iou"])
    agreement = 100 * int8["label_agreement"]
    return [
        (f"{name}: file at most 5.0 MB", megabytes, megabytes <= 5),
        (f"{name}: at most 0.3 point of foreground mean IoU below FP32", drop, drop <= 0.3),
        (f"{name}: labels agree with Keras on at least 99.8 %", agreement, agreement >= 99.8),
    ]
