"""Rendering of the page with the templates in this folder. All values that they print are escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segtool.errors import MissingExtraError
from segtool.files import nan_to_none
from segtool.metrics import row_shares
from segtool.report.confusion import cell_text
from segtool.report.model_charts import SHAPES, interval_of
from segtool.report.page.images import CONFUSED, INVENTED, MISSED, Example
from segtool.report.page.pairs import largest_confusions
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.style import SERIES
from segtool.report.svg import Chart, color_rules, to_svg
from segtool.text import NONE, clean, data_name, figures, megabytes, percent, points, threads, whole

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
_DIFFERENCES = (
    (MISSED, "missed: foreground predicted as background"),
    (INVENTED, "invented: background predicted as foreground"),
    (CONFUSED, "confused: one class predicted as another"),
)
_PERCENTILES = ("min", "p50", "p90", "p99", "p999", "max", "mean")  # columns of the table of latencies
_MAX_CLASSES = 40  # a larger matrix is unreadable on the page; the JSON has it
_STRONGEST = 0.5  # opacity limit of the heat colour, so that numbers on it stay readable


def require_jinja() -> None:
    """Raise MissingExtraError with the install command if jinja2 is missing."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'The report needs jinja2, which is not installed; run: pip install "segtool[report]"'
        ) from error


def render(
    report: Facts,
    *,
    charts: Mapping[str, Chart],
    examples: Sequence[Mapping[str, Sequence[Example]]],
    changed: Sequence[Sequence[Example]],
) -> str:
    """Return the page as HTML text.

    Parameters
    ----------
    report
        The JSON of the report.
    charts
        The charts by name.
    examples
        The images under "worst" and "best" of each model.
    changed
        The images of each pair on which INT8 differs most.
    """
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
    environment.filters |= _FILTERS
    environment.filters["svg"] = lambda chart, name: Markup(to_svg(chart, name))  # noqa: S704 - to_svg escapes its text
    models, place = report["models"], report["verdict"]["model"]
    chosen = None if place is None else models[place]
    shown = chosen or models[-1]
    return environment.get_template("page.html").render(
        report=report,
        models=models,
        shown=shown,
        summary=_summary(report, shown, chosen=chosen is not None),
        chosen=chosen,
        comparison=list(_comparison(models)),
        charts=charts,
        examples=examples,
        changed=changed,
        sections=list(_sections(models)),
        scored_on=_distinct(_scored_on(model["evaluation"]) for model in models),
        conventions=_distinct(words for model in models for words in _conventions(model["evaluation"])),
        figure_names=FIGURE_NAMES,
        differences=_DIFFERENCES,
        same_accuracy=f"{SAME_ACCURACY:g}",
        colors=Markup(color_rules()),  # noqa: S704 - constants
    )


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _sections(models: Sequence[Facts]) -> Iterator[tuple[str, str]]:
    """Yield the identifier and the title of each section; the identifier is also the name of its template."""
    yield from (("models", "Models"), ("accuracy", "Accuracy"), ("images", "Images"))
    if any(model["contract"]["precision"] == "int8" for model in models):
        yield "int8", "FP32 against INT8"
    yield from (("speed", "Speed"), ("training", "Training"), ("contract", "Contract"), ("reproduce", "Reproduce"))


def _summary(report: Facts, model: Facts, *, chosen: bool) -> str:
    """Return the summary of a model: its main figures, then the failed checks, or else the open ones."""
    checks, evaluation, row = model["verdict"]["checks"], model["evaluation"], model["benchmark"]
    failed = [item for item in checks if item["status"] == "fail"]
    against = failed or [item for item in checks if item["status"] in ("care", "unknown")]
    count, time = len(report["models"]), ""
    if row:
        device = f"{threads(row['threads'])} of {report['machine']['cpu']}"
        time = f", in {figures(row['latency_ms']['p50'])} ms per image on {device}"
    found = (
        f"{f'The best of {count} files: ' if count > 1 and chosen else ''}"
        f"{percent(evaluation['foreground_mean_iou'], none=NONE)} % foreground mean IoU on "
        f"{evaluation['images']} images of {data_name(evaluation['data'])}{time}, from a file of "
        f"{megabytes(model['size_bytes'])} MB."
    )
    return " ".join([found, *(item["note"] or item["text"] for item in against)])


def _comparison(models: Sequence[Facts]) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of the table of models that have a value: the title, and the text of each model."""
    columns = [_column(model) for model in models]
    for title in columns[0]:
        texts = [column[title] for column in columns]
        if any(text != NONE for text in texts):
            yield title, texts


def _column(model: Facts) -> dict[str, str]:
    evaluation, row = model["evaluation"], model["benchmark"] or {}
    latency, interval = row.get("latency_ms", {}), interval_of(evaluation, "foreground_mean_iou")
    return {
        "verdict": {"yes": "yes", "care": "yes, but", "no": "no"}[model["verdict"]["answer"]],
        "network": model["arch"] or NONE,
        "precision": {"float32": "FP32", "int8": "INT8"}.get(model["contract"]["precision"], NONE),
        "parameters": whole(model["parameters"]),
        "MB": megabytes(model["size_bytes"]),
        "foreground mean IoU %": percent(evaluation["foreground_mean_iou"], none=NONE),
        "95 % interval": _span(interval) if interval else NONE,
        "p50 ms": figures(latency.get("p50")),
        "p99 ms": figures(latency.get("p99")),
        "images/s": whole(row.get("throughput_ips")),
        "cold start ms": whole(row.get("cold_start_ms")),
        "peak MB": figures(row.get("peak_rss_mb")),
    }


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def _scored_on(evaluation: Facts) -> str:
    return f"{evaluation['images']} images of {data_name(evaluation['data'])}, part {evaluation['split']}"


def _conventions(evaluation: Facts) -> Iterator[str]:
    """Yield the definitions of the figures of an evaluation."""
    yield evaluation["convention"]
    yield evaluation["boundary"]["convention"]
    yield evaluation["calibration"]["convention"]
    found = evaluation["intervals"]
    yield f"Intervals of {100 * found['level']:g} %: {found['method']}, {found['resamples']} resamples."


def _confusion(model: Facts) -> dict[str, Any]:
    """Return the largest entries of a model's matrix, the class names, and the rows as text (none for many classes)."""
    names = [item["name"] for item in model["evaluation"]["classes"]]
    matrix = np.asarray(model["evaluation"]["confusion_matrix"], np.int64)
    largest = largest_confusions(matrix, names, most=6)
    rows = zip(names, matrix.tolist(), row_shares(matrix).tolist(), strict=True)
    return {
        "largest": [{**item, "share": item["pixels"] / int(matrix[item["from_id"]].sum())} for item in largest],
        "names": names,
        "rows": [(name, list(map(_cell, counts, shares))) for name, counts, shares in rows]
        if len(names) <= _MAX_CLASSES
        else [],
    }


def _cell(count: int, share: float) -> dict[str, str]:
    # A confusion of one percent matters, but would be invisible on a linear scale.
    heat = f"{_STRONGEST * math.sqrt(share):.3f}" if count else ""
    return {"share": cell_text(share), "pixels": f"{count:,}" if count else "", "heat": heat}


def _both_ious(models: Sequence[Facts]) -> list[tuple[Facts, Facts]]:
    """Return the pairs of classes of two models that have an IoU in both."""
    pairs = zip(*(model["evaluation"]["classes"] for model in models), strict=True)
    return [pair for pair in pairs if not any(math.isnan(item["iou"]) for item in pair)]


def _graph(graph: Facts) -> str | None:
    if not graph:
        return None
    share = f", {percent(graph['int8_share'], 1)} % of them in INT8" if graph.get("int8_share") else ""
    nodes, work = sum(graph["nodes"].values()), graph["macs"] / 1e6
    return f"{nodes} nodes, {graph['parameters']:,} parameters, {work:.1f} million multiply-adds per image{share}"


def _gates(gates: Facts) -> str:
    passed = ", ".join(name for name, gate in gates.items() if not gate.get("waived"))
    waived = ", ".join(name for name, gate in gates.items() if gate.get("waived"))
    words = [f"passed: {passed}" if passed else "", f"WAIVED: {waived}" if waived else ""]
    return "; ".join(filter(None, words)) or "none recorded"


def _joined(parts: Iterable[object]) -> str | None:
    return ", ".join(str(part) for part in parts if part not in (None, "")) or None


_FILTERS: dict[str, Callable[..., Any]] = {
    "percent": lambda share, digits=2: percent(share, digits, none=NONE),
    "points": points,
    "figures": figures,
    "megabytes": megabytes,
    "whole": whole,
    "threads": threads,
    "span": _span,
    "fixed": lambda value, digits=2: f"{value:.{digits}f}",
    "joined": _joined,
    "versions": lambda found: _joined(f"{name} {version}" for name, version in found.items()),
    "parts": lambda splits: _joined(f"{name} {count:,}" for name, count in (splits or {}).items()),
    "as_json": lambda contract: json.dumps(nan_to_none(contract), indent=2, ensure_ascii=False),
    "apply": lambda value, macro: macro(value),
    "shape": lambda number: SHAPES[number % len(SHAPES)],
    "series": lambda number: SERIES[number % len(SERIES)],
    "interval_of": interval_of,
    "confusion": _confusion,
    "weakest_iou": lambda classes: min((item["iou"] for item in classes if not math.isnan(item["iou"])), default=None),
    "both_ious": _both_ious,
    "percentiles": lambda rows: [
        key for key in _PERCENTILES if any(row["latency_ms"][key] is not None for row in rows)
    ],
    "graph": _graph,
    "gates": _gates,
}
