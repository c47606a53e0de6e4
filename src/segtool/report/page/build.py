"""Making a report: what `segtool report` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segtool.errors import DataError
from segtool.files import refuse_existing, write_bytes, write_json
from segtool.report.canvas import require_matplotlib
from segtool.report.page.calibration_chart import calibration_chart
from segtool.report.page.collect import Model, Pair, collect, open_models
from segtool.report.page.commands import commands_for
from segtool.report.page.document import render
from segtool.report.page.options import REPORT_NAME, GraphFacts, Progress, ReportOptions
from segtool.report.page.panels import change_panels, example_panels
from segtool.report.page.plots import drawings_in, plot_paths, write_plots
from segtool.report.page.scene import Scene
from segtool.report.page.scoring import ImageScore, labels_at
from segtool.report.page.speed_charts import latency_chart, sensitivity_chart, stages_chart, tradeoff_chart
from segtool.report.page.subjects import Subject, find_subjects
from segtool.report.page.training_charts import training_charts
from segtool.report.page.verdict import choose, incomparable, judge
from segtool.report.page.view import Example, View, timed

SCHEMA_VERSION = 1


def report(
    models: Sequence[Path],
    *,
    options: ReportOptions,
    graph: GraphFacts | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[Path]]:
    """Write the report on some models; return its JSON and the files that were written, the page first.

    Parameters
    ----------
    models
        Run folders, .onnx and .keras files; none for the latest run, or the model that ships with segtool.
    options
        On what, and where to.
    graph
        Gives what the graph of an .onnx file is made of, such as its parameters; None where nobody knows.
    progress
        Called with what is done, how much of it, and how much there is.

    Raises
    ------
    SegtoolError
        A model or the data cannot be used, a run is unfinished, or an output is already there.
    """
    progress = progress or _silent
    subjects = find_subjects(models)
    page = options.out or _place(subjects)
    outputs = [page, _figures_beside(page)]
    # Which drawings there will be is known only after minutes of measuring, so any that is there refuses now.
    for path in [*outputs, *drawings_in(options.plots)]:
        refuse_existing(path, overwrite=options.overwrite)
    if options.plots is not None:
        require_matplotlib()
    opened, note = open_models(subjects, options)
    found, pairs = collect(opened, options, graph=graph or _unknown, progress=progress)
    found = {**found, **_judged(found), "selection_note": note}
    found["commands"] = commands_for(found, options)
    view = View(found, _examples(opened), _changed(pairs, found, options), _scenes(found))
    write_bytes(page, render(view).encode())
    write_json(outputs[1], {"schema_version": SCHEMA_VERSION, "command": "report", **found})
    write_plots(view.scenes, options.plots)
    return found, [*outputs, *plot_paths(view.scenes, options.plots)]


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def _unknown(path: Path) -> Mapping[str, Any]:  # noqa: ARG001 - as a GraphFacts is called
    return {}


def _place(subjects: Sequence[Subject]) -> Path:
    """Return where the page goes if nobody says: into the run that all models are of, else the current folder."""
    runs = {subject.run.path for subject in subjects if subject.run}
    alone = any(subject.run is None for subject in subjects)
    return runs.pop() / REPORT_NAME if len(runs) == 1 and not alone else Path(REPORT_NAME)


def _figures_beside(page: Path) -> Path:
    """Return where the figures go; refuse a page whose figures would be taken for something else.

    `NAME.json` beside `NAME.npz` describes data, and `dataset.json` all data of a folder.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"The page {page} is no .html or .htm file; name it such as {page.with_suffix('.html')}.")
    figures = page.with_name(f"{page.name}.json")
    if figures.with_suffix(".npz").exists():
        raise DataError(
            f"The figures would go to {figures}, where the description of {figures.with_suffix('.npz')} is looked for; "
            "give the page another name with --out."
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


def _examples(models: Sequence[Model]) -> dict[int, dict[str, list[Example]]]:
    return {
        number: {kind: [_example(model, index) for index in model.facts[kind]] for kind in ("worst", "best")}
        for number, model in enumerate(models)
    }


def _example(model: Model, index: int) -> Example:
    labels = labels_at(model.predictor, model.data, index)
    panels = example_panels(model.data, index, labels, model.contract.palette)
    return Example(panels, asdict(_score_of(model, index)))


def _score_of(model: Model, index: int) -> ImageScore:
    return next(score for score in model.scores if score.index == index)


def _changed(pairs: Sequence[Pair], found: Mapping[str, Any], options: ReportOptions) -> dict[int, list[Example]]:
    """Return the images of each pair on which most labels changed."""
    return {
        place: [_change(pair, facts) for facts in found["pairs"][place]["images"][: options.samples]]
        for place, pair in enumerate(pairs)
    }


def _change(pair: Pair, facts: Mapping[str, Any]) -> Example:
    data, index = pair.int8.data, int(facts["index"])
    labels = [labels_at(each.predictor, data, index) for each in (pair.float32, pair.int8)]
    return Example(change_panels(data, index, labels[0], labels[1], pair.int8.contract.palette), facts)


def _scenes(found: Mapping[str, Any]) -> dict[str, Scene]:
    return {name: scene for name, scene in _named_scenes(found) if scene is not None}


def _named_scenes(found: Mapping[str, Any]) -> Iterator[tuple[str, Scene | None]]:
    """Yield every drawing of the report by the name of its file."""
    measured = timed(found["models"])
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
        for name, scene in training_charts(run["history"]).items():
            yield f"training-{number}-{name}", scene
