"""The first screen: this model, this file, on this machine: yes or no, and why."""

from __future__ import annotations

from typing import Any

from segtool.report.page.markup import Child, Html, join, tag
from segtool.report.page.parts import bdi
from segtool.report.page.view import Facts, View, interval_of, name_of
from segtool.text import TIMES, data_name, figures, megabytes, percent, threads, whole

_ANSWERS = {"yes": "Yes", "care": "Yes, but", "no": "No", "open": "Open"}
_STATUS = {
    "pass": ("✓", "passed"),
    "note": ("i", "to know"),
    "care": ("!", "mind this"),
    "fail": ("✕", "failed"),
    "unknown": ("?", "not known"),
}


def head(view: View) -> Html:
    """Return the header of the page."""
    model = view.shown
    answer = view.report["verdict"]["answer"]
    is_open = answer == "open"
    title = "Which file to deploy is open" if is_open else _title(model)
    summary = view.report["verdict"]["reason"] if is_open else _summary(view, model)
    return tag(
        "header",
        tag("p", f"segtool {view.report['segtool_version']} · model report · ", _date(view), class_="kicker"),
        tag(
            "div",
            tag("p", _ANSWERS[answer], class_=f"answer {answer}"),
            tag("div", tag("h1", title), tag("p", summary, class_="summary"), class_="why"),
            class_="verdict",
        ),
        [_of_each(each, view) for each in view.models] if is_open else [_numbers(model, view), _checks(model)],
        id="top",
    )


def _of_each(model: Facts, view: View) -> list[Html]:
    return [tag("p", name_of(model), class_="each"), _numbers(model, view), _checks(model)]


def _date(view: View) -> Html:
    moment = str(view.report["created"])
    return tag("time", f"{moment[:16].replace('T', ' ')} UTC", datetime=moment)


def _title(model: Facts) -> list[Child]:
    name = bdi(model["label"])
    if model["verdict"]["answer"] == "no":
        return ["Do not deploy ", name, " on this machine"]
    return ["Deploy ", name, " on this machine"]


def _summary(view: View, model: Facts) -> str:
    """Return the reasons in a sentence: what speaks against it first."""
    checks = model["verdict"]["checks"]
    against = [item for item in checks if item["status"] == "fail"] or [
        item for item in checks if item["status"] in ("care", "unknown")
    ]
    evaluation, machine = model["evaluation"], view.report["machine"]
    row = model["benchmark"]
    time = (
        f", in {figures(row['latency_ms']['p50'])} ms an image on {threads(row['threads'])} of {machine['cpu']}"
        if row
        else ""
    )
    choice = f"The best choice of {len(view.models)} files: " if len(view.models) > 1 and view.chosen else ""
    found = (
        f"{choice}{percent(evaluation['foreground_mean_iou'])} % foreground mean IoU on {evaluation['images']} images "
        f"of {data_name(evaluation['data'])}{time}, from a file of {megabytes(model['size_bytes'])} MB."
    )
    return f"{found} {' '.join(item['note'] or item['text'] for item in against)}".strip()


def _numbers(model: Facts, view: View) -> Html:
    """Return the figures that matter most, each with its unit and what it is."""
    evaluation, row = model["evaluation"], model["benchmark"]
    interval = interval_of(evaluation, "foreground_mean_iou")
    pair = next((item for item in view.report["pairs"] if item["int8"] == model["id"]), None)
    items: list[tuple[Child, str, Child]] = [
        (percent(evaluation["foreground_mean_iou"]), "%", "foreground mean IoU" + _interval(interval)),
        (percent(evaluation["pixel_accuracy"]), "%", "pixel accuracy"),
    ]
    if row:
        items += [
            (figures(row["latency_ms"]["p50"]), "ms", f"p50 latency, p99 {figures(row['latency_ms']['p99'])}"),
            (whole(round(row["cold_start_ms"])), "ms", "cold start, to the first labels"),
        ]
    items.append((megabytes(model["size_bytes"]), "MB", f"{whole(model['parameters'])} parameters"))
    if pair and pair["speed"]:
        speed = pair["speed"]
        items.append((figures(speed["median"]), TIMES, f"as fast as FP32, {speed['low']:.2f} to {speed['high']:.2f}"))
    cells = [
        tag("div", tag("dt", what), tag("dd", tag("span", value, class_="value"), tag("span", unit, class_="unit")))
        for value, unit, what in items
    ]
    return tag("dl", cells, class_="numbers")


def _interval(interval: tuple[float, float] | None) -> str:
    return f", {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""


def _checks(model: Facts) -> Html:
    return tag(
        "ul", [_check(item) for item in model["verdict"]["checks"]], class_="checks", aria_label="What was checked"
    )


def _check(item: dict[str, Any]) -> Html:
    sign, word = _STATUS[item["status"]]
    return tag(
        "li",
        tag("span", sign, class_=f"mark {item['status']}", aria_hidden="true"),
        tag(
            "div",
            tag("strong", item["name"]),
            tag("span", f" ({word}) ", class_="hidden"),
            join(f"{item['text']} {item['note']}".strip()),
        ),
    )
