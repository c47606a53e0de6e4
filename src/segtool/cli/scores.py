"""The tables of `segtool evaluate`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.cli.common import say
from segtool.cli.tables import Columns, emit_rows, emit_table, without_unused
from segtool.evaluate.comparison import Comparison, Comparisons
from segtool.evaluate.evaluation import Evaluation
from segtool.text import counted, percent

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

_CLASSES: Columns = {
    "class": lambda item: item["name"],
    "IoU": lambda item: percent(item["iou"]),
    "interval": lambda item: _range((item["intervals"] or {}).get("iou")),
    "boundary\nIoU": lambda item: percent(item["boundary_iou"]),
    "Dice": lambda item: percent(item["dice"]),
    "precision": lambda item: percent(item["precision"]),
    "recall": lambda item: percent(item["recall"]),
    "true\npixels": lambda item: item["support"],
    "images": lambda item: item["images"],
}
_IMAGES: Columns = {
    "image": lambda item: item["image"],
    "labels that\nagree, %": lambda item: percent(item["label_agreement"]),
    "first, %": lambda item: percent(item["first"]),
    "second, %": lambda item: percent(item["second"]),
    "differ\nby": lambda item: _signed(item["difference"]),
}


def report_evaluation(result: Evaluation) -> None:
    """Print the scores of one model."""
    values = result.to_dict()
    _emit_figures(values)
    classes = without_unused(values["classes"], lambda item: not math.isnan(item["iou"]))
    emit_rows(_CLASSES, classes, title="Each class, over the data set, in percent")
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
        if images := values["differ_most"]:
            figure = _FIGURES[images[0]["ranked_by"]]
            emit_rows(_IMAGES, images, title=f"Images with the greatest differences ({figure} of each image)")
    found = result.to_dict()
    say(found["intervals"]["convention"])
    _print_conventions(found)


def _print_conventions(values: Mapping[str, Any]) -> None:
    say(values["convention"])
    least, most = values["boundary"]["width_pixels"]
    width = f"{least}" if least == most else f"{least} to {most}"
    say(f"Boundary IoU: over the pixels within {width} {'pixel' if most == 1 else 'pixels'} of an outline.")


def _emit_figures(values: Mapping[str, Any]) -> None:
    per_image, intervals = values["per_image"], values["intervals"]
    columns: Columns = {
        "figure, %": lambda name: _FIGURES[name],
        "data set": lambda name: percent(values[name]),
        f"{100 * intervals['level']:g} % interval": lambda name: _range((intervals["figures"] or {}).get(name)),
        "image\nmean": lambda name: percent(per_image["mean"][name]),
        "image\nmedian": lambda name: percent(per_image["median"][name]),
    }
    title = f"{values['model']} on {values['data']} ({values['split']}, {counted(values['images'], 'image')})"
    emit_rows(columns, list(_FIGURES), title=title)


def _emit_differences(comparison: Comparison, values: Mapping[str, Any]) -> None:
    selection = comparison.first.selection
    rows = [[title, *_difference(values["figures"][name])] for name, title in _FIGURES.items()]
    classes = without_unused(
        values["classes"], lambda item: not (math.isnan(item["iou"]["first"]) and math.isnan(item["iou"]["second"]))
    )
    rows += [[f"IoU of {item['name']}", *_difference(item["iou"])] for item in classes]
    level = f"{100 * comparison.first.bootstrap.level:g} % interval"
    emit_table(
        ["figure, %", "first", "second", "differ\nby", level, "second\nis"],
        rows,
        title=f"{values['second']} (second) against {values['first']} (first) on {selection.data.spec} "
        f"({selection.part}, {counted(len(comparison.same), 'image')}):\n"
        f"{percent(values['label_agreement'], 3)} % of the labels agree, "
        f"{counted(values['images_alike'], 'image')} equal",
    )


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
