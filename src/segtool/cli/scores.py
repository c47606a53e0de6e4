"""The tables of `segtool evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.cli.common import say
from segtool.cli.tables import emit_table
from segtool.evaluate.comparison import Comparison, Comparisons
from segtool.evaluate.evaluation import Evaluation
from segtool.text import percent

_FIGURES = {
    "pixel_accuracy": "pixel accuracy",
    "foreground_mean_iou": "mean IoU, foreground",
    "mean_iou": "mean IoU, all",
    "foreground_mean_dice": "mean Dice, foreground",
    "mean_dice": "mean Dice, all",
    "foreground_mean_boundary_iou": "mean boundary IoU, foreground",
    "mean_boundary_iou": "mean boundary IoU, all",
    "frequency_weighted_iou": "frequency-weighted IoU",
}

_VERDICTS = {"no difference shown": "neither"}


def report_evaluation(result: Evaluation) -> None:
    """Print the scores of one model."""
    values = result.to_dict()
    _emit_figures(values)
    _emit_classes(values["classes"])
    calibration = values["calibration"]
    if calibration["available"]:
        error = percent(calibration["expected_calibration_error"])
        say(f"Expected calibration error of the probabilities: {error} % ({len(calibration['bins'])} bins).")
    else:
        say(f"No calibration error: {calibration['reason']}")
    _print_conventions(values)


def report_comparisons(result: Comparisons) -> None:
    """Print the differences between the first model and each of the others."""
    for comparison in result.comparisons:
        values = comparison.to_dict()
        _emit_differences(comparison, values)
        _emit_images(values)
    found = result.to_dict()
    say(found["intervals"]["convention"])
    _print_conventions(found)


def _print_conventions(values: Mapping[str, Any]) -> None:
    say(values["convention"])
    least, most = values["boundary"]["width_pixels"]
    width = f"{least}" if least == most else f"{least} to {most}"
    say(f"Boundary IoU: over the pixels within {width} pixel{'' if width == '1' else 's'} of an outline.")


def _emit_figures(values: Mapping[str, Any]) -> None:
    per_image, intervals = values["per_image"], values["intervals"]
    rows = [
        [
            title,
            percent(values[name]),
            _range((intervals["figures"] or {}).get(name)),
            percent(per_image["mean"][name]),
            percent(per_image["median"][name]),
        ]
        for name, title in _FIGURES.items()
    ]
    columns = ["figure, %", "data set", f"{100 * intervals['level']:g} % interval", "image\nmean", "image\nmedian"]
    title = f"{values['model']} on {values['data']} ({values['split']}, {values['images']} images)"
    emit_table(columns, rows, title=title)


def _emit_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        [
            item["name"],
            percent(item["iou"]),
            _range((item["intervals"] or {}).get("iou")),
            percent(item["boundary_iou"]),
            percent(item["dice"]),
            percent(item["precision"]),
            percent(item["recall"]),
            item["support"],
            item["images"],
        ]
        for item in classes
    ]
    columns = ["class", "IoU", "interval", "boundary\nIoU", "Dice", "precision", "recall", "true\npixels", "images"]
    emit_table(columns, rows, title="Each class, over the data set, in percent")


def _emit_differences(comparison: Comparison, values: Mapping[str, Any]) -> None:
    selection = comparison.first.selection
    rows = [[title, *_difference(values["figures"][name])] for name, title in _FIGURES.items()]
    rows += [[f"IoU of {item['name']}", *_difference(item["iou"])] for item in values["classes"]]
    level = f"{100 * comparison.first.bootstrap.level:g} % interval"
    emit_table(
        ["figure, %", "first", "second", "differ\nby", level, "second\nis"],
        rows,
        title=f"{values['second']} (second) against {values['first']} (first) on {selection.data.spec} "
        f"({selection.part}, {len(comparison.same)} images):\n{percent(values['label_agreement'], 3)} % of the labels "
        f"agree, {values['images_alike']} images are equal",
    )


def _emit_images(values: Mapping[str, Any]) -> None:
    images = values["differ_most"]
    if not images:
        return
    figure = _FIGURES[images[0]["ranked_by"]]
    rows = [
        [
            item["image"],
            percent(item["label_agreement"]),
            percent(item["first"]),
            percent(item["second"]),
            _signed(item["difference"]),
        ]
        for item in images
    ]
    columns = ["image", "labels that\nagree, %", "first, %", "second, %", "differ\nby"]
    emit_table(columns, rows, title=f"Images with the greatest differences ({figure} of each image)")


def _difference(entry: Mapping[str, Any]) -> list[str]:
    interval = entry["interval"]
    return [
        percent(entry["first"]),
        percent(entry["second"]),
        _signed(entry["difference"]),
        "-" if interval is None else f"{_signed(interval[0])} to {_signed(interval[1])}",
        _VERDICTS.get(entry["verdict"], entry["verdict"] or "-"),
    ]


def _signed(value: float) -> str:
    """Return a signed difference of fractions in percentage points: 3 digits, or more if they would all be 0."""
    points = 100 * value
    if math.isnan(value) or points == 0:
        return "-" if math.isnan(value) else "0"
    for digits in range(2 if abs(points) >= 10 else 3, 7):
        if round(points, digits):
            return f"{points:+.{digits}f}"
    return f"{points:+.0e}"


def _range(interval: Sequence[float] | None) -> str:
    if interval is None or math.isnan(interval[0]):
        return "-"
    return f"{percent(interval[0])} to {percent(interval[1])}"
