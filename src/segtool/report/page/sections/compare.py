"""All models side by side: size, accuracy, speed, verdict."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import Cell, chart, note, section, table
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.page.view import Facts, View, interval_of, name_of
from segtool.report.page.words import NONE, figures, megabytes, percent, whole

_WORDS = {"yes": "yes", "care": "yes, but", "no": "no"}
_COLUMNS = (
    "model", "verdict", "network", "precision", "parameters", "MB", "foreground mean IoU %", "95 % interval",
    "p50 ms", "p99 ms", "images/s", "cold start ms", "peak MB",
)  # fmt: skip


def compare(view: View) -> Html:
    """Return the section."""
    rows = [_row(model, view) for model in view.models]
    used = [index for index in range(len(_COLUMNS)) if index == 0 or any(_filled(row[index]) for row in rows)]
    columns = [_COLUMNS[index] for index in used]
    return section(
        "models",
        "Models",
        table(
            "Every model of this report",
            columns,
            [[row[index] for index in used] for row in rows],
            identifier="t-models",
        ),
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


def _row(model: Facts, view: View) -> list[Cell]:
    evaluation, row = model["evaluation"], model["benchmark"]
    latency = row["latency_ms"] if row else {}
    chosen = view.chosen is not None and view.chosen["id"] == model["id"]
    interval = interval_of(evaluation, "foreground_mean_iou")
    answer = model["verdict"]["answer"]
    cells: list[Cell] = [
        Cell(name_of(model), strong=chosen),
        Cell(tag("span", _WORDS[answer], class_=f"tag {answer}"), number=False),
        Cell(_text(model["arch"]), number=False),
        Cell({"float32": "FP32", "int8": "INT8"}.get(model["contract"]["precision"], NONE), number=False),
        Cell(whole(model["parameters"])),
        Cell(megabytes(model["size_bytes"])),
        Cell(percent(evaluation["foreground_mean_iou"]), strong=chosen),
        Cell(f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else NONE),
        Cell(figures(latency.get("p50")), strong=chosen),
        Cell(figures(latency.get("p99"))),
    ]
    if row is None:
        return cells + [Cell(NONE)] * 3
    peak = row["peak_rss_mb"]
    return [
        *cells,
        Cell(whole(round(row["throughput_ips"]))),
        Cell(whole(round(row["cold_start_ms"]))),
        Cell(figures(peak)),
    ]


def _text(value: str | None) -> Child:
    return tag("bdi", value) if value else NONE


def _filled(cell: Cell) -> bool:
    return cell.content not in (NONE, None)


def _rule(view: View) -> Sequence[Html]:
    scored = {(each["evaluation"]["data_fingerprint"], each["evaluation"]["split"]) for each in view.models}
    notes = []
    if len(scored) > 1:
        notes.append(note(tag("strong", "Not scored on the same images: "), "compare accuracies with care."))
    if len(view.models) > 1:
        rule = (
            "The choice: of the models that are not refused and whose foreground mean IoU is within "
            f"{SAME_ACCURACY:g} points of the best, the fastest (the smallest where times were not measured)."
        )
        notes.append(note(rule))
    return notes
