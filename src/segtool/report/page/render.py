"""The page from what is known: the templates, and the filters that they use. Everything printed is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segtool import text
from segtool.errors import MissingExtraError
from segtool.files import nan_to_none
from segtool.report.confusion import cell_text, shares_of
from segtool.report.model_charts import SHAPES, interval_of
from segtool.report.page.panels import CONFUSED, INVENTED, MISSED, Panel
from segtool.report.page.scoring import largest_confusions
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.style import SERIES, Chart, clean, color_rules, to_svg
from segtool.text import NONE, TIMES, data_name, figures, megabytes, percent, threads, whole

Facts = Mapping[str, Any]

FIGURE_NAMES = {
    "foreground_mean_iou": "foreground mean IoU",
    "foreground_mean_dice": "foreground mean Dice",
    "mean_iou": "mean IoU, all classes",
    "mean_dice": "mean Dice, all classes",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "foreground_mean_boundary_iou": "foreground mean boundary IoU",
    "mean_boundary_iou": "mean boundary IoU, all classes",
    "pixel_accuracy": "pixel accuracy",
}
_CLASS_COLUMNS = {"precision": "precision %", "recall": "recall %", "boundary_iou": "boundary IoU %"}
_PERCENTILES = ("min", "p50", "p90", "p99", "p999", "max", "mean")
_MAX_CLASSES = 40  # a matrix of more is not read by anybody; its figures are in the JSON
_STRONGEST = 0.5  # of the heat colour, so that the figures on it stay readable
_DIFFERENCES = (
    (MISSED, "missed: foreground taken for background"),
    (INVENTED, "invented: background taken for foreground"),
    (CONFUSED, "confused: one class taken for another"),
)


@dataclass(frozen=True)
class Example:
    """An image of the report: its panels, and the entry of `per_image` or of a pair's `images` that it belongs to."""

    panels: Sequence[Panel]
    facts: Facts


@dataclass(frozen=True)
class View:
    """Everything that a page shows.

    Attributes
    ----------
    report
        The JSON of the report.
    examples
        The worst and the best images ("worst", "best") of each model, by its id.
    changed
        The images on which INT8 differs most, by the place of their pair in the report.
    charts
        The charts by name.
    """

    report: Facts
    examples: Mapping[int, Mapping[str, Sequence[Example]]] = field(default_factory=dict)
    changed: Mapping[int, Sequence[Example]] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)

    @property
    def chosen(self) -> Facts | None:
        """The model to deploy; None where there is none."""
        found = self.report["verdict"]["model"]
        return None if found is None else self.report["models"][found]

    @property
    def shown(self) -> Facts:
        """The model that the page is about first of all."""
        return self.chosen or self.report["models"][-1]


def require_jinja() -> None:
    """Raise MissingExtraError with the line that installs jinja2 where it is missing."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'The report needs jinja2, which is not installed; run: pip install "segtool[report]"'
        ) from error


def render(view: View) -> str:
    """Return the page as HTML text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) else clean(value)

    environment = Environment(
        loader=PackageLoader("segtool.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        **_FILTERS,
        "svg": lambda chart, name: Markup(to_svg(chart, name)),  # noqa: S704 - its words are escaped there
        "summary": lambda model: _summary(view, model),
        "numbers": lambda model: list(_numbers(view, model)),
    }
    models = view.report["models"]
    return environment.get_template("page.html").render(
        report=view.report,
        models=models,
        shown=view.shown,
        examples=view.examples,
        changed=view.changed,
        charts=view.charts,
        sections=list(_sections(models)),
        comparison=list(_comparison(view)),
        scored_on=list(dict.fromkeys(_scored_on(model["evaluation"]) for model in models)),
        conventions=list(dict.fromkeys(words for model in models for words in _conventions(model["evaluation"]))),
        figure_names=FIGURE_NAMES,
        differences=_DIFFERENCES,
        same_accuracy=f"{SAME_ACCURACY:g}",
        colors=Markup(color_rules()),  # noqa: S704 - constants
    )


def _sections(models: Sequence[Facts]) -> Iterator[tuple[str, str]]:
    """Yield the identifier, which is also the template's name, and the title of each section."""
    yield from (("models", "Models"), ("accuracy", "Accuracy"), ("images", "Images"))
    if any(model["contract"]["precision"] == "int8" for model in models):
        yield "int8", "FP32 against INT8"
    yield from (("speed", "Speed"), ("training", "Training"), ("contract", "Contract"), ("reproduce", "Reproduce"))


def _summary(view: View, model: Facts) -> str:
    """Return the reasons in a sentence: what speaks against it first."""
    checks = model["verdict"]["checks"]
    against = [item for item in checks if item["status"] == "fail"] or [
        item for item in checks if item["status"] in ("care", "unknown")
    ]
    evaluation, row, machine = model["evaluation"], model["benchmark"], view.report["machine"]
    time = ""
    if row:
        time = f", in {figures(row['latency_ms']['p50'])} ms an image on {threads(row['threads'])} of {machine['cpu']}"
    count = len(view.report["models"])
    choice = f"The best choice of {count} files: " if count > 1 and view.chosen else ""
    found = (
        f"{choice}{percent(evaluation['foreground_mean_iou'], none=NONE)} % foreground mean IoU on "
        f"{evaluation['images']} images of {data_name(evaluation['data'])}{time}, from a file of "
        f"{megabytes(model['size_bytes'])} MB."
    )
    return f"{found} {' '.join(item['note'] or item['text'] for item in against)}".strip()


def _numbers(view: View, model: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the figures that matter most, each with its unit and what it is."""
    evaluation, row = model["evaluation"], model["benchmark"]
    interval = interval_of(evaluation, "foreground_mean_iou")
    span = f", {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
    yield percent(evaluation["foreground_mean_iou"], none=NONE), "%", f"foreground mean IoU{span}"
    yield percent(evaluation["pixel_accuracy"], none=NONE), "%", "pixel accuracy"
    if row:
        latency = row["latency_ms"]
        yield figures(latency["p50"]), "ms", f"p50 latency, p99 {figures(latency['p99'])}"
        yield whole(row["cold_start_ms"]), "ms", "cold start, to the first labels"
    yield megabytes(model["size_bytes"]), "MB", f"{whole(model['parameters'])} parameters"
    speed = next((pair["speed"] for pair in view.report["pairs"] if pair["int8"] == model["id"]), None)
    if speed:
        yield figures(speed["median"]), TIMES, f"as fast as FP32, {speed['low']:.2f} to {speed['high']:.2f}"


def _comparison(view: View) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of the table of models that have a figure: the title, and a cell for each model."""
    columns = [_cells(model, chosen=model is view.chosen) for model in view.report["models"]]
    for name in columns[0]:
        cells = [column[name] for column in columns]
        if any(cell["text"] != NONE for cell in cells):
            yield name, cells


def _cells(model: Facts, *, chosen: bool) -> dict[str, dict[str, Any]]:
    evaluation, row = model["evaluation"], model["benchmark"] or {}
    latency = row.get("latency_ms", {})
    interval = interval_of(evaluation, "foreground_mean_iou")
    answer = model["verdict"]["answer"]
    texts = {
        "verdict": {"yes": "yes", "care": "yes, but", "no": "no"}[answer],
        "network": model["arch"] or NONE,
        "precision": {"float32": "FP32", "int8": "INT8"}.get(model["contract"]["precision"], NONE),
        "parameters": whole(model["parameters"]),
        "MB": megabytes(model["size_bytes"]),
        "foreground mean IoU %": percent(evaluation["foreground_mean_iou"], none=NONE),
        "95 % interval": f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else NONE,
        "p50 ms": figures(latency.get("p50")),
        "p99 ms": figures(latency.get("p99")),
        "images/s": whole(row.get("throughput_ips")),
        "cold start ms": whole(row.get("cold_start_ms")),
        "peak MB": figures(row.get("peak_rss_mb")),
    }
    strong = ("foreground mean IoU %", "p50 ms") if chosen else ()
    return {
        name: {"text": words, "strong": name in strong, "answer": answer if name == "verdict" else ""}
        for name, words in texts.items()
    }


def _scored_on(evaluation: Facts) -> str:
    return f"{evaluation['images']} images of {data_name(evaluation['data'])}, part {evaluation['split']}"


def _conventions(evaluation: Facts) -> Iterator[str]:
    yield str(evaluation["convention"])
    for key in ("boundary", "calibration"):
        words = (evaluation.get(key) or {}).get("convention")
        if words:
            yield str(words)
    intervals = evaluation.get("intervals") or {}
    if intervals.get("method"):
        level, draws = f"{100 * intervals['level']:g} %", f"{intervals['resamples']} resamples"
        yield f"Intervals of {level}: {intervals['method']}, {draws}."


def _confusion(model: Facts) -> dict[str, Any]:
    """Return the largest entries of a model's matrix, the names of its classes, and its rows as text; none of many."""
    evaluation = model["evaluation"]
    names = [str(item["name"]) for item in evaluation["classes"]]
    matrix = np.asarray(evaluation["confusion_matrix"], np.int64)
    largest = [
        {**item, "share": item["pixels"] / int(matrix[item["from_id"]].sum())}
        for item in largest_confusions(matrix, names, most=6)
    ]
    shares = shares_of(matrix, len(names))
    rows = [
        (name, [_cell(count, share) for count, share in zip(*row, strict=True)])
        for name, *row in zip(names, matrix.tolist(), shares.tolist(), strict=True)
    ]
    return {"largest": largest, "names": names, "rows": rows if len(names) <= _MAX_CLASSES else []}


def _cell(count: int, share: float) -> dict[str, str]:
    # A confusion of one percent matters and would not be seen on a linear scale.
    heat = "" if math.isnan(share) or not share else f"{_STRONGEST * math.sqrt(share):.3f}"
    return {"share": cell_text(share), "pixels": f"{count:,}" if count else "", "heat": heat}


def _class_columns(model: Facts) -> dict[str, str]:
    classes = model["evaluation"]["classes"]
    return {key: name for key, name in _CLASS_COLUMNS.items() if any(item.get(key) is not None for item in classes)}


def _weakest_iou(model: Facts) -> float | None:
    known = [item["iou"] for item in model["evaluation"]["classes"] if not math.isnan(item["iou"])]
    return min(known, default=None)


def _both_ious(models: tuple[Facts, Facts]) -> Iterator[tuple[Facts, Facts]]:
    """Yield the classes of two models that have an IoU in both."""
    for pair in zip(*(model["evaluation"]["classes"] for model in models), strict=True):
        if all(item["iou"] is not None and not math.isnan(item["iou"]) for item in pair):
            yield pair


def _latency_columns(models: Sequence[Facts]) -> dict[str, str]:
    rows = [model["benchmark"]["latency_ms"] for model in models]
    return {key: f"{key} ms" for key in _PERCENTILES if any(row.get(key) is not None for row in rows)}


def _cold_phases(cold: Facts) -> dict[str, str]:
    kept = [key for key in cold if key not in ("n", "min_ms", "max_ms")]
    return {key: f"{key.removesuffix('_ms').replace('_', ' ')} ms" for key in kept}


def _graph(graph: Facts) -> str | None:
    if not graph:
        return None
    share = f", {percent(graph['int8_share'], 1)} % of them in INT8" if graph.get("int8_share") else ""
    nodes, work = sum(graph["nodes"].values()), graph["macs"] / 1e6
    return f"{nodes} nodes, {graph['parameters']:,} parameters, {work:.1f} million multiply-adds an image{share}"


def _gates(gates: Facts) -> str:
    passed = [name for name, gate in gates.items() if not gate.get("waived")]
    waived = [name for name, gate in gates.items() if gate.get("waived")]
    words = [f"passed: {', '.join(passed)}" if passed else "", f"WAIVED: {', '.join(waived)}" if waived else ""]
    return "; ".join(word for word in words if word) or "none recorded"


def _joined(parts: Sequence[object]) -> str | None:
    return ", ".join(str(part) for part in parts if part not in (None, "")) or None


_FILTERS = {
    "percent": lambda share, digits=2: percent(share, digits, none=NONE),
    "points": text.points,
    "figures": figures,
    "megabytes": megabytes,
    "whole": whole,
    "threads": threads,
    "fixed": lambda value, digits=2: f"{value:.{digits}f}",
    "list_of_fixed": lambda values: ", ".join(f"{value:.2f}" for value in values or ()),
    "joined": _joined,
    "versions": lambda found: _joined([f"{name} {version}" for name, version in found.items()]),
    "parts": lambda splits: _joined([f"{name} {count:,}" for name, count in (splits or {}).items()]),
    "as_json": lambda contract: json.dumps(nan_to_none(contract), indent=2, ensure_ascii=False),
    "apply": lambda value, macro: macro(value),
    "shape": lambda number: SHAPES[number % len(SHAPES)],
    "series": lambda number: SERIES[number % len(SERIES)],
    "interval_of": interval_of,
    "has_figure": lambda models, key: any(model["evaluation"].get(key) is not None for model in models),
    "confusion": _confusion,
    "class_columns": _class_columns,
    "weakest_iou": _weakest_iou,
    "both_ious": _both_ious,
    "latency_columns": _latency_columns,
    "cold_phases": _cold_phases,
    "graph": _graph,
    "gates": _gates,
}
