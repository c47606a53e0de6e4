"""Rendering of the page with the templates in this folder. All values that they print are escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from segtool.errors import MissingExtraError
from segtool.files import nan_to_none
from segtool.report.model_charts import SHAPES, interval_of
from segtool.report.page.images import DIFFERENCES, Example
from segtool.report.page.pairs import largest_confusions
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.style import SERIES, Chart, color_rules, to_svg
from segtool.text import NONE, clean, counted, data_name, figures, megabytes, percent, points, threads, whole

Facts = Mapping[str, Any]

_PERCENTILES = ("min", "p50", "p90", "p99", "p999", "max", "mean")  # columns of the table of latencies


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

    environment = Environment(
        loader=PackageLoader("segtool.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else clean(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    environment.filters["svg"] = lambda chart, name: Markup(to_svg(chart, name))  # noqa: S704 - to_svg escapes its text
    environment.tests["nan"] = math.isnan
    models, place = report["models"], report["verdict"]["model"]
    chosen = None if place is None else models[place]
    found = models[0]["evaluation"]  # all models are scored on the same images
    return environment.get_template("page.html").render(
        report=report,
        models=models,
        shown=chosen or models[-1],
        chosen=chosen,
        comparison=_comparison(models),
        charts=charts,
        examples=examples,
        changed=changed,
        scored_on=f"{counted(found['images'], 'image')} of {data_name(found['data'])}, part {found['split']}",
        conventions=_conventions(found),
        differences=DIFFERENCES,
        same_accuracy=SAME_ACCURACY,
        colors=Markup(color_rules()),  # noqa: S704 - constants
    )


def _comparison(models: Sequence[Facts]) -> list[tuple[str, list[str]]]:
    """Return the rows of the table of models that have a value: the title, and the text of each model."""
    columns = [_column(model) for model in models]
    rows = [(title, [column[title] for column in columns]) for title in columns[0]]
    return [(title, texts) for title, texts in rows if set(texts) != {NONE}]


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
        "95 % interval": span(interval) if interval else NONE,
        "p50 ms": figures(latency.get("p50")),
        "p99 ms": figures(latency.get("p99")),
        "images/s": whole(row.get("images_per_second")),
        "cold start ms": whole(row.get("cold_start_ms")),
        "peak MB": figures(row.get("peak_rss_mb")),
    }


def span(interval: Sequence[float]) -> str:
    """Return an interval in percent; like every share, one below 100 is never shown as 100."""
    return f"{percent(interval[0] / 100)} to {percent(interval[1] / 100)}"


def cell_text(share: float) -> str:
    """Return a fraction as percent: empty for 0, "<0.1" for small values, "100" only for exactly 1."""
    if share == 0:
        return ""
    if share < 0.001:
        return "<0.1"
    return ">99.9" if 0.999 < share < 1 else percent(share, 1)


def _conventions(evaluation: Facts) -> Iterator[str]:
    """Yield the definitions of the figures of an evaluation."""
    yield from (each["convention"] for each in (evaluation, evaluation["boundary"], evaluation["calibration"]))
    found = evaluation["intervals"]
    yield f"Intervals of {100 * found['level']:g} %: {found['method']}, {found['resamples']} resamples."


def _largest(evaluation: Facts) -> list[dict[str, Any]]:
    names = [item["name"] for item in evaluation["classes"]]
    return largest_confusions(np.asarray(evaluation["confusion_matrix"], np.int64), names, most=6)


def _gates(gates: Facts) -> str:
    passed = ", ".join(name for name, gate in gates.items() if not gate.get("waived"))
    waived = ", ".join(name for name, gate in gates.items() if gate.get("waived"))
    words = [f"passed: {passed}" if passed else "", f"WAIVED: {waived}" if waived else ""]
    return "; ".join(filter(None, words)) or "none recorded"


_FILTERS: dict[str, Callable[..., Any]] = {
    **{each.__name__: each for each in (points, figures, megabytes, whole, threads, data_name, interval_of, cell_text)},
    "percent": lambda share, digits=2: percent(share, digits, none=NONE),
    "span": span,
    "fixed": lambda value, digits=2: f"{value:.{digits}f}",
    "versions": lambda found: ", ".join(f"{name} {version}" for name, version in found.items()),
    "as_json": lambda contract: json.dumps(nan_to_none(contract), indent=2, ensure_ascii=False),
    "apply": lambda value, macro: macro(value),
    "shape": lambda number: SHAPES[number % len(SHAPES)],
    "series": lambda number: SERIES[number % len(SERIES)],
    "largest_confusions": _largest,
    "percentiles": lambda row: [key for key in _PERCENTILES if row["latency_ms"][key] is not None],
    "gates": _gates,
}
