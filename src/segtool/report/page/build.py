"""Creating a report: the implementation of `segtool report`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes, write_json
from segtool.report.model_charts import (
    calibration_chart,
    latency_chart,
    sensitivity_chart,
    stages_chart,
    tradeoff_chart,
)
from segtool.report.page.collect import Model, collect, open_models
from segtool.report.page.commands import commands_for
from segtool.report.page.model_files import ModelFile, find_model_files
from segtool.report.page.options import REPORT_NAME, GraphFacts, Progress, ReportOptions
from segtool.report.page.panels import change_panels, example_panels
from segtool.report.page.render import Example, View, render, require_jinja
from segtool.report.page.scoring import labels_at
from segtool.report.page.verdict import choose, incomparable, judge
from segtool.report.style import Chart, require_matplotlib, save_png, style, to_svg
from segtool.report.training_charts import training_charts

SCHEMA_VERSION = 1
_PNG_DPI = 216  # of chart files: three times the resolution of the page


def report(
    models: Sequence[Path],
    *,
    options: ReportOptions,
    graph: GraphFacts | None = None,
    progress: Progress | None = None,
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
    progress = progress or _silent
    files = find_model_files(models)
    page = options.out or _place(files)
    outputs = [page, _figures_beside(page)]
    # The names of the charts are known only after minutes of measurement, so refuse any existing chart now.
    for path in [*outputs, *_charts_in(options.plots)]:
        refuse_existing(path, overwrite=options.overwrite)
    opened, note = open_models(files, options)
    found = collect(opened, options, graph=graph or _unknown, progress=progress)
    found = {**found, **_judged(found), "selection_note": note}
    found["commands"] = commands_for(found, options)
    charts = {name: chart for name, chart in _charts(found) if chart is not None}
    view = View(found, _examples(opened, found), _changed(opened, found, options), charts)
    write_bytes(page, render(view).encode())
    write_json(outputs[1], {"schema_version": SCHEMA_VERSION, "command": "report", **found})
    return found, [*outputs, *_write_charts(charts, options.plots)]


def _silent(what: str, done: float, total: float) -> None:
    """Report nothing."""


def _unknown(path: Path) -> Mapping[str, Any]:  # noqa: ARG001 - the signature of GraphFacts
    return {}


def _place(files: Sequence[ModelFile]) -> Path:
    """Return the default path of the page: in the run folder if all models are of one run, else the current folder."""
    runs = {file.run.path for file in files if file.run}
    alone = any(file.run is None for file in files)
    return runs.pop() / REPORT_NAME if len(runs) == 1 and not alone else Path(REPORT_NAME)


def _figures_beside(page: Path) -> Path:
    """Return the path of the figures; refuse a page whose figures could be mistaken for a data description.

    `NAME.json` beside `NAME.npz` describes this data set, and `dataset.json` all data of a folder.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise DataError(
            f"The page {page} is not an .html or .htm file; use a name such as {page.with_suffix('.html')}."
        )
    figures = page.with_name(f"{page.name}.json")
    if figures.with_suffix(".npz").exists():
        raise DataError(
            f"The figures would be written to {figures}, which is the description of {figures.with_suffix('.npz')}; "
            "choose another name for the page with --out."
        )
    return figures


def _judged(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models with their verdicts, and the verdict of the report."""
    pairs = {pair["int8"]: pair for pair in found["pairs"]}
    models = [{**model, "verdict": judge(model, pairs.get(model["id"]))} for model in found["models"]]
    reason = incomparable(models)
    chosen = None if reason else choose(models)
    answer = "open" if reason else "no" if chosen is None else models[chosen]["verdict"]["answer"]
    return {"models": models, "verdict": {"model": chosen, "answer": answer, "reason": reason}}


def _examples(models: Sequence[Model], found: Mapping[str, Any]) -> dict[int, dict[str, list[Example]]]:
    """Return the worst and the best images of each model."""
    return {
        facts["id"]: {kind: [_example(model, facts, index) for index in facts[kind]] for kind in ("worst", "best")}
        for model, facts in zip(models, found["models"], strict=True)
    }


def _example(model: Model, facts: Mapping[str, Any], index: int) -> Example:
    data = model.selection.data
    labels = labels_at(model.predictor, data, index)
    score = next(each for each in facts["per_image"] if each["index"] == index)
    return Example(example_panels(data, index, labels, model.predictor.contract.palette), score)


def _changed(models: Sequence[Model], found: Mapping[str, Any], options: ReportOptions) -> dict[int, list[Example]]:
    """Return the images of each pair with the most changed labels."""
    return {
        place: [
            _change(models[pair["float32"]], models[pair["int8"]], facts) for facts in pair["images"][: options.samples]
        ]
        for place, pair in enumerate(found["pairs"])
    }


def _change(float32: Model, int8: Model, facts: Mapping[str, Any]) -> Example:
    data, index = int8.selection.data, int(facts["index"])
    first, second = (labels_at(each.predictor, data, index) for each in (float32, int8))
    return Example(change_panels(data, index, first, second, int8.predictor.contract.palette), facts)


def _charts(found: Mapping[str, Any]) -> Iterator[tuple[str, Chart | None]]:
    """Yield every chart of the report by the name of its file."""
    measured = [model for model in found["models"] if model["benchmark"]]
    if measured:
        yield "latency", latency_chart(measured)
        yield "stages", stages_chart(measured)
        yield "accuracy-latency", tradeoff_chart(measured)
    shown = found["models"][found["verdict"]["model"] if found["verdict"]["model"] is not None else -1]
    yield "calibration", calibration_chart(shown["evaluation"].get("calibration"))
    for model in found["models"]:
        facts = model["contract"]["quantization"]
        if facts.get("sensitivities"):
            kept = facts.get("float_layers", ())
            yield f"sensitivity-{model['id']}", sensitivity_chart(facts["sensitivities"], kept)
    for number, run in enumerate(found["runs"]):
        for name, chart in training_charts(run["history"]).items():
            yield f"training-{number}-{name}", chart


def _charts_in(folder: Path | None) -> list[Path]:
    """Return the existing charts in a folder."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in (".svg", ".png"))


def _write_charts(charts: Mapping[str, Chart], folder: Path | None) -> Iterator[Path]:
    """Write every chart as SVG and PNG, atomically; yield the files. Without a folder write nothing."""
    if folder is None:
        return
    for name, chart in charts.items():
        write_bytes(folder / f"{name}.svg", to_svg(chart, name, alone=True).encode())
        with style():
            save_png(chart.figure, folder / f"{name}.png", dpi=_PNG_DPI)
        yield from (folder / f"{name}.{kind}" for kind in ("svg", "png"))
