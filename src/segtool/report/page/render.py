"""Rendering of the page with the templates in this folder. All values that they print are escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segtool.errors import MissingExtraError
from segtool.report.model_charts import interval_of
from segtool.report.page.filters import FILTERS
from segtool.report.page.panels import CONFUSED, INVENTED, MISSED, Panel
from segtool.report.page.verdict import SAME_ACCURACY
from segtool.report.style import Chart, clean, color_rules, to_svg
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
_DIFFERENCES = (
    (MISSED, "missed: foreground predicted as background"),
    (INVENTED, "invented: background predicted as foreground"),
    (CONFUSED, "confused: one class predicted as another"),
)


@dataclass(frozen=True)
class Example:
    """An image of the report: its panels, and its entry in `per_image` or in the `images` of a pair."""

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
        The worst and the best images ("worst", "best") by model id.
    changed
        The images on which INT8 differs most, by the index of the pair in the report.
    charts
        The charts by name.
    """

    report: Facts
    examples: Mapping[int, Mapping[str, Sequence[Example]]] = field(default_factory=dict)
    changed: Mapping[int, Sequence[Example]] = field(default_factory=dict)
    charts: Mapping[str, Chart] = field(default_factory=dict)

    @property
    def chosen(self) -> Facts | None:
        """The model to deploy; None if there is none."""
        found = self.report["verdict"]["model"]
        return None if found is None else self.report["models"][found]

    @property
    def shown(self) -> Facts:
        """The model that the page shows first."""
        return self.chosen or self.report["models"][-1]


def require_jinja() -> None:
    """Raise MissingExtraError with the install command if jinja2 is missing."""
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
        **FILTERS,
        "svg": lambda chart, name: Markup(to_svg(chart, name)),  # noqa: S704 - to_svg escapes its text
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
    """Yield the identifier and the title of each section; the identifier is also the name of its template."""
    yield from (("models", "Models"), ("accuracy", "Accuracy"), ("images", "Images"))
    if any(model["contract"]["precision"] == "int8" for model in models):
        yield "int8", "FP32 against INT8"
    yield from (("speed", "Speed"), ("training", "Training"), ("contract", "Contract"), ("reproduce", "Reproduce"))


def _summary(view: View, model: Facts) -> str:
    """Return the summary of a model: its main figures, then the failed or open checks."""
    checks = model["verdict"]["checks"]
    against = [item for item in checks if item["status"] == "fail"] or [
        item for item in checks if item["status"] in ("care", "unknown")
    ]
    evaluation, row, machine = model["evaluation"], model["benchmark"], view.report["machine"]
    time = ""
    if row:
        time = f", in {figures(row['latency_ms']['p50'])} ms per image on {threads(row['threads'])} of {machine['cpu']}"
    count = len(view.report["models"])
    choice = f"The best of {count} files: " if count > 1 and view.chosen else ""
    found = (
        f"{choice}{percent(evaluation['foreground_mean_iou'], none=NONE)} % foreground mean IoU on "
        f"{evaluation['images']} images of {data_name(evaluation['data'])}{time}, from a file of "
        f"{megabytes(model['size_bytes'])} MB."
    )
    return f"{found} {' '.join(item['note'] or item['text'] for item in against)}".strip()


def _numbers(view: View, model: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the key figures: value, unit and name."""
    evaluation, row = model["evaluation"], model["benchmark"]
    interval = interval_of(evaluation, "foreground_mean_iou")
    span = f", {interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
    yield percent(evaluation["foreground_mean_iou"], none=NONE), "%", f"foreground mean IoU{span}"
    yield percent(evaluation["pixel_accuracy"], none=NONE), "%", "pixel accuracy"
    if row:
        latency = row["latency_ms"]
        yield figures(latency["p50"]), "ms", f"p50 latency, p99 {figures(latency['p99'])}"
        yield whole(row["cold_start_ms"]), "ms", "cold start to the first labels"
    yield megabytes(model["size_bytes"]), "MB", f"{whole(model['parameters'])} parameters"
    speed = next((pair["speed"] for pair in view.report["pairs"] if pair["int8"] == model["id"]), None)
    if speed:
        yield figures(speed["median"]), TIMES, f"as fast as FP32, {speed['low']:.2f} to {speed['high']:.2f}"


def _comparison(view: View) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of the table of models that have a value: the title, and a cell per model."""
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
