"""Creating a report: the implementation of `segtool report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes, write_json
from segtool.models.resolve import ModelSource
from segtool.report.model_charts import (
    calibration_chart,
    latency_chart,
    sensitivity_chart,
    stages_chart,
    tradeoff_chart,
)
from segtool.report.page.commands import commands_for
from segtool.report.page.figures import collect
from segtool.report.page.images import change_of, examples_of
from segtool.report.page.models import find_model_files, open_models
from segtool.report.page.options import REPORT_NAME, GraphFacts, Progress, ReportOptions
from segtool.report.page.render import render, require_jinja
from segtool.report.page.verdict import choose, incomparable, judge
from segtool.report.style import Chart, require_matplotlib, save_png, style, to_svg
from segtool.report.training_charts import training_charts

Facts = Mapping[str, Any]
SCHEMA_VERSION = 1
_PNG_DPI = 216  # of chart files: three times the resolution of the page


def report(
    models: Sequence[Path],
    *,
    options: ReportOptions,
    graph: GraphFacts | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> tuple[dict[str, Any], list[Path]]:
    """Write the report on models; return its JSON and the written files, the page first.

    Parameters
    ----------
    models
        Run folders, .onnx and .keras files; empty for the latest run, or the model that ships with segtool.
    options
        The data, the measurements and the outputs.
    graph
        Returns facts on the graph of an .onnx file, such as its parameters; None if they are not available.
    progress
        Called with (name of the work, amount done, total amount).

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, a run is unfinished, an output exists already, or a package of the extra
        ``report`` is missing.
    """
    require_matplotlib()
    require_jinja()
    sources = find_model_files(models)
    page = options.out or _place(sources)
    if wrong := wrong_page(page):
        raise DataError(wrong)
    outputs = [page, page.with_name(f"{page.name}.json")]
    # The names of the charts are known only after minutes of measurement, so refuse any existing chart now.
    kinds = ("*.svg", "*.png") if options.plots else ()
    for path in [*outputs, *(path for kind in kinds for path in Path(options.plots or "").glob(kind))]:
        refuse_existing(path, overwrite=options.overwrite)
    opened, selection = open_models(sources, options)
    found = _judged(collect(opened, selection, options, graph=graph, progress=progress))
    found["commands"] = commands_for(found, options)
    charts = {name: chart for name, chart in _charts(found) if chart is not None}
    data = selection.data
    text = render(
        found,
        charts=charts,
        examples=[examples_of(model, data, facts) for model, facts in zip(opened, found["models"], strict=True)],
        changed=[
            [
                change_of(opened[pair["float32"]], opened[pair["int8"]], data, each)
                for each in pair["images"][: options.samples]
            ]
            for pair in found["pairs"]
        ],
    )
    write_bytes(page, text.encode())
    write_json(outputs[1], {"schema_version": SCHEMA_VERSION, "command": "report", **found})
    return found, [*outputs, *_write_charts(charts, options.plots)]


def wrong_page(page: Path | None) -> str | None:
    """Return the message for a page with a wrong name, whose .json could be the description of data; else None."""
    if page is None or page.suffix.lower() in (".html", ".htm"):
        return None
    return f"The page {page} is not an .html or .htm file; use a name such as {page.with_suffix('.html')}."


def _place(sources: Sequence[ModelSource]) -> Path:
    """Return the default path of the page: in the run folder if all models are of one run, else the current folder."""
    folders = {source.run.path if source.run else Path() for source in sources}
    return (folders.pop() if len(folders) == 1 else Path()) / REPORT_NAME


def _judged(found: Facts) -> dict[str, Any]:
    """Return the JSON with the verdict of each model, and that of the report."""
    pairs = {pair["int8"]: pair for pair in found["pairs"]}
    judged = [{**model, "verdict": judge(model, pairs.get(model["id"]))} for model in found["models"]]
    reason = incomparable(judged)
    chosen = None if reason else choose(judged)
    answer = "open" if reason else "no" if chosen is None else judged[chosen]["verdict"]["answer"]
    return {**found, "models": judged, "verdict": {"model": chosen, "answer": answer, "reason": reason}}


def _charts(found: Facts) -> Iterator[tuple[str, Chart | None]]:
    """Yield every chart of the report by the name of its file."""
    measured = [model for model in found["models"] if model["benchmark"]]
    if measured:
        yield "latency", latency_chart(measured)
        yield "stages", stages_chart(measured)
        yield "accuracy-latency", tradeoff_chart(measured)
    chosen = found["verdict"]["model"]
    shown = found["models"][-1 if chosen is None else chosen]
    yield "calibration", calibration_chart(shown["evaluation"]["calibration"])
    for model in found["models"]:
        facts = model["contract"]["quantization"]
        if facts.get("sensitivities"):
            kept = facts.get("float_layers", ())
            yield f"sensitivity-{model['id']}", sensitivity_chart(facts["sensitivities"], kept)
    for number, run in enumerate(found["runs"]):
        for name, chart in training_charts(run["history"]).items():
            yield f"training-{number}-{name}", chart


def _write_charts(charts: Mapping[str, Chart], folder: Path | None) -> Iterator[Path]:
    """Write every chart as SVG and PNG, atomically; yield the files. Without a folder write nothing."""
    if folder is None:
        return
    for name, chart in charts.items():
        write_bytes(folder / f"{name}.svg", to_svg(chart, name, alone=True).encode())
        with style():
            save_png(chart.figure, folder / f"{name}.png", dpi=_PNG_DPI)
        yield from (folder / f"{name}.{kind}" for kind in ("svg", "png"))
