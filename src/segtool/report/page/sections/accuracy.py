"""Accuracy: each class, the figures of all images, calibration, and the conventions behind them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import Cell, bdi, chart, note, section, table
from segtool.report.page.sections.confusion import confusion
from segtool.report.page.view import Facts, View, interval_of, name_of
from segtool.text import data_name, percent, whole

_FIGURES = {
    "foreground_mean_iou": "foreground mean IoU",
    "foreground_mean_dice": "foreground mean Dice",
    "mean_iou": "mean IoU, all classes",
    "mean_dice": "mean Dice, all classes",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "foreground_mean_boundary_iou": "foreground mean boundary IoU",
    "mean_boundary_iou": "mean boundary IoU, all classes",
    "pixel_accuracy": "pixel accuracy",
}
_PER_CLASS = {"precision": "precision", "recall": "recall", "boundary_iou": "boundary IoU"}


def accuracy(view: View) -> Html:
    """Return the section."""
    return section(
        "accuracy",
        "Accuracy",
        tag("div", _all_images(view), _classes(view), class_="side"),
        *[confusion(model, opened=model["id"] == view.shown["id"]) for model in _shown_first(view)],
        _calibration(view),
        *(note(text) for text in dict.fromkeys(_conventions(view))),
    )


def _shown_first(view: View) -> list[Facts]:
    return sorted(view.models, key=lambda model: model["id"] != view.shown["id"])


def _all_images(view: View) -> Html:
    rows: list[Sequence[Child | Cell]] = []
    for key, name in _FIGURES.items():
        values = [model["evaluation"].get(key) for model in view.models]
        if any(value is not None for value in values):
            rows.append([name, *(Cell(_with_interval(model, key)) for model in view.models)])
    scored = dict.fromkeys(_scored_on(model["evaluation"]) for model in view.models)
    caption = f"All images together, percent ({'; '.join(scored)})"
    return table(caption, ["figure", *(name_of(model) for model in view.models)], rows, identifier="t-figures")


def _scored_on(evaluation: Facts) -> str:
    return f"{evaluation['images']} images of {data_name(evaluation['data'])}, part {evaluation['split']}"


def _with_interval(model: Facts, key: str) -> list[Child]:
    interval = interval_of(model["evaluation"], key)
    span = tag("span", f"{interval[0]:.2f} to {interval[1]:.2f}", class_="interval") if interval else None
    return [percent(model["evaluation"].get(key)), span]


def _classes(view: View) -> Html:
    """Return the table of the classes: of every model the IoU, of the one that is shown all that there is."""
    shown = view.shown
    extra = [key for key in _PER_CLASS if any(item.get(key) is not None for item in shown["evaluation"]["classes"])]
    others = [model for model in view.models if model["id"] != shown["id"]]
    columns: list[Child] = ["class", "IoU %", "Dice %", *(f"{_PER_CLASS[key]} %" for key in extra), "true pixels"]
    columns += [["IoU % of ", name_of(model)] for model in others]
    classes = shown["evaluation"]["classes"]
    known = [item["iou"] for item in classes if not math.isnan(item["iou"])]
    rows = [_class_row(item, extra, others, weakest=item["iou"] == min(known, default=None)) for item in classes]
    return table([name_of(shown), ", each class; the weakest is bold"], columns, rows, identifier="t-classes")


def _class_row(
    item: dict[str, Any], extra: Sequence[str], others: Sequence[Facts], *, weakest: bool
) -> list[Child | Cell]:
    return [
        bdi(item["name"]),
        Cell(percent(item["iou"]), strong=weakest),
        Cell(percent(item["dice"])),
        *(Cell(percent(item.get(key))) for key in extra),
        Cell(whole(item["support"])),
        *(Cell(_iou_of(model, item["id"])) for model in others),
    ]


def _iou_of(model: Facts, class_id: int) -> str:
    found = [item["iou"] for item in model["evaluation"]["classes"] if item["id"] == class_id]
    return percent(found[0] if found else None)


def _calibration(view: View) -> list[Child]:
    """Return how far the probabilities can be believed, or why that is not known."""
    found = view.shown["evaluation"].get("calibration")
    if not found:
        return []
    heading = tag("h3", "Calibration of the probabilities")
    if not found["available"]:
        return [heading, note(found["reason"])]
    error = found["expected_calibration_error"]
    caption = f"Expected calibration error {100 * error:.2f} points; the closer to the diagonal, the better."
    return [heading, chart(view.scenes.get("calibration"), caption)]


def _conventions(view: View) -> Iterator[str]:
    for model in view.models:
        evaluation = model["evaluation"]
        yield str(evaluation["convention"])
        for key in ("boundary", "calibration"):
            text = (evaluation.get(key) or {}).get("convention")
            if text:
                yield str(text)
        intervals = evaluation.get("intervals") or {}
        if intervals.get("method"):
            level, draws = f"{100 * intervals['level']:g} %", f"{intervals['resamples']} resamples"
            yield f"Intervals of {level}: {intervals['method']}, {draws}."
