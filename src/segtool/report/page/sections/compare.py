"""All models side by side: size, accuracy, speed, verdict."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import Cell, chart, note, section, table
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.page.view import Facts, View, interval_of, name_of
from segtool.text import NONE, figures, megabytes, percent, whole

_WORDS = {"yes": "yes", "care": "yes, but", "no": "no"}


def compare(view: View) -> Html:
    """Return the section: a model is a column, so that no figure is out of sight where few models are compared."""
    cells = [_cells(model, view) for model in view.models]
    names = [name for name in cells[0] if any(column[name].content not in (NONE, None) for column in cells)]
    rows: list[Sequence[Child | Cell]] = [[name, *(column[name] for column in cells)] for name in names]
    head: list[Child] = ["figure", *(name_of(model) for model in view.models)]
    return section(
        "models",
        "Models",
        table("Every model of this report", head, rows, identifier="t-models"),
        tag(
            "div",
            chart(
                view.scenes.get("accuracy-latency"),
                "Accuracy against latency; bars are 95 % intervals, where there are any.",
            ),
            tag("div", _rule(view)),
            class_="charts",
        ),
    )


def _cells(model: Facts, view: View) -> dict[str, Cell]:
    evaluation, row = model["evaluation"], model["benchmark"]
    latency = row["latency_ms"] if row else {}
    chosen = view.chosen is not None and view.chosen["id"] == model["id"]
    interval = interval_of(evaluation, "foreground_mean_iou")
    answer = model["verdict"]["answer"]
    return {
        "verdict": Cell(tag("span", _WORDS[answer], class_=f"tag {answer}")),
        "network": Cell(_text(model["arch"])),
        "precision": Cell({"float32": "FP32", "int8": "INT8"}.get(model["contract"]["precision"], NONE)),
        "parameters": Cell(whole(model["parameters"])),
        "MB": Cell(megabytes(model["size_bytes"])),
        "foreground mean IoU %": Cell(percent(evaluation["foreground_mean_iou"]), strong=chosen),
        "95 % interval": Cell(f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else NONE),
        "p50 ms": Cell(figures(latency.get("p50")), strong=chosen),
        "p99 ms": Cell(figures(latency.get("p99"))),
        "images/s": Cell(whole(round(row["throughput_ips"])) if row else NONE),
        "cold start ms": Cell(whole(round(row["cold_start_ms"])) if row else NONE),
        "peak MB": Cell(figures(row["peak_rss_mb"]) if row else NONE),
    }


def _text(value: str | None) -> Child:
    return tag("bdi", value) if value else NONE


def _rule(view: View) -> Sequence[Html]:
    verdict = view.report["verdict"]
    notes = [note(tag("strong", text)) for text in (verdict["reason"], view.report["selection_note"]) if text]
    if len(view.models) > 1 and not verdict["reason"]:
        rule = (
            "The choice: of the models that are not refused and whose foreground mean IoU is within "
            f"{SAME_ACCURACY:g} points of the best, the fastest (the smallest where times were not measured)."
        )
        notes.append(note(rule))
    return notes
