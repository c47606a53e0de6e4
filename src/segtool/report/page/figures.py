"""The JSON of a report: the figures of the other commands, and the results derived from them.

Each model is opened once and sees each image once. This pass counts the figures of `evaluate`, the scores of single
images, and the labels that differ between FP32 and INT8.
"""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import segtool
from segtool.array_types import IntegerArray
from segtool.benchmark.measure import MeasureOptions, measure
from segtool.evaluate.evaluate import EvaluateOptions, evaluation_of, tally_of
from segtool.evaluate.evaluation import Evaluation
from segtool.evaluate.selection import Selection
from segtool.files import sha256_of
from segtool.machine.machine import machine_info
from segtool.models.resolve import Run
from segtool.report.page.models import Model, training_facts
from segtool.report.page.options import RUNS, GraphFacts, Progress, ReportOptions
from segtool.report.page.pairs import Pair, find_pairs


def collect(
    models: Sequence[Model],
    selection: Selection,
    options: ReportOptions,
    *,
    graph: GraphFacts | None,
    progress: Progress,
) -> dict[str, Any]:
    """Score and time the models; return the JSON of the report without verdicts and commands."""
    digests = [sha256_of(model.source.path) for model in models]
    pairs = find_pairs(models, digests)
    evaluations = _score(models, selection, pairs, progress)
    times = _measure(models, options, progress) if options.latency else {}
    facts = [
        {
            "id": number,
            **_model_facts(model, digests[number], graph),
            **training_facts(model.predictor.contract, selection),
            "evaluation": evaluations[number].to_dict(),
            **_image_facts(evaluations[number], options.samples),
            "benchmark": times.get(model.source.path),
        }
        for number, model in enumerate(models)
    ]
    runs = {model.source.run.path: model.source.run for model in models if model.source.run}
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "segtool_version": segtool.__version__,
        "machine": machine_info(),
        "models": facts,
        "pairs": [pair.to_dict(facts, selection.data.class_names) for pair in pairs],
        "runs": [_run_facts(run) for run in runs.values()],
    }


def _score(
    models: Sequence[Model], selection: Selection, pairs: Sequence[Pair], progress: Progress
) -> list[Evaluation]:
    """Score the models in one pass over the images, and compare the labels of each pair."""
    names, settings = selection.names, EvaluateOptions()

    def compare(at: int, labels: Sequence[IntegerArray]) -> None:
        for pair in pairs:
            for place, maps in enumerate(zip(labels[pair.float32], labels[pair.int8], strict=True), start=at):
                pair.add(int(selection.indices[place]), names[place], *maps)

    predictors = [model.predictor for model in models]
    tallies = tally_of(
        predictors, selection, settings, lambda done, total: progress("images", done, total), seen=compare
    )
    return [
        evaluation_of(predictor, selection, counted, settings)
        for predictor, counted in zip(predictors, tallies, strict=True)
    ]


def _measure(models: Sequence[Model], options: ReportOptions, progress: Progress) -> dict[Path, dict[str, Any]]:
    """Return the entry of ``benchmark --json`` of each exported model by its path, with `samples_ms` and `noise`.

    Models of the same input size are measured interleaved. Other sizes are measured separately, because their times are
    not comparable.
    """
    sizes: dict[tuple[int, int, int], list[Path]] = {}
    for segmenter in (model.predictor.segmenter for model in models):
        if segmenter is not None:
            sizes.setdefault((*segmenter.input_size, segmenter.contract.channels), []).append(segmenter.path)
    settings = MeasureOptions(
        provider=options.provider,
        threads=(options.threads,) if options.threads else (),
        runs=options.runs or RUNS,
        provider_options=options.provider_options,
        samples=True,
    )
    rows: dict[Path, dict[str, Any]] = {}
    for paths in sizes.values():
        found = measure(paths, options=settings, progress=progress)
        noise = {key: found["noise"][key] for key in ("band", "quiet")}
        rows |= {path: {**row, "noise": noise} for path, row in zip(paths, found["models"], strict=True)}
    return rows


def _model_facts(model: Model, digest: str, graph: GraphFacts | None) -> dict[str, Any]:
    source, contract, segmenter = model.source, model.predictor.contract, model.predictor.segmenter
    run = source.run.info if source.run else {}
    facts = dict(graph(source.path)) if graph and segmenter else {}
    return {
        "label": model.label,
        "path": str(source.path),
        "kind": source.kind,
        "size_bytes": source.path.stat().st_size,
        "sha256": digest,
        "run": str(source.run.path) if source.run else None,
        "arch": run.get("arch"),
        "parameters": facts.get("parameters") or run.get("parameters"),
        "graph": facts,
        "contract": {**asdict(contract), "color_order": contract.color_order},
        "provider": dict(model.predictor.provider_report),
        "golden": segmenter.verify().to_dict() if segmenter else None,
    }


def _image_facts(evaluation: Evaluation, count: int) -> dict[str, Any]:
    """Return the scores of each image, and the indices of the worst and the best images, at most `count` of each.

    The worst have the lowest foreground IoU; ties are ordered by the number of wrong pixels. The best have the highest
    IoU and the fewest wrong pixels; ties are ordered by the amount of foreground, because an empty image shows little.
    Images without a foreground IoU are in neither, and no image is in both.
    """
    counts, background = evaluation.tally.counts, evaluation.selection.data.background_id
    total = counts.truth.sum(axis=1)
    columns = {
        "index": evaluation.selection.indices.tolist(),
        "name": evaluation.selection.names,
        "foreground_mean_iou": evaluation.per_image["foreground_mean_iou"].tolist(),
        "pixel_accuracy": evaluation.per_image["pixel_accuracy"].tolist(),
        "wrong": (total - counts.hits.sum(axis=1)).tolist(),
        "foreground": (total if background is None else total - counts.truth[:, background]).tolist(),
    }
    images = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    usable = [each for each in images if not math.isnan(each["foreground_mean_iou"])]
    usable.sort(key=lambda each: (each["foreground_mean_iou"], -each["wrong"], each["index"]))
    worst, rest = usable[:count], usable[count:]
    rest.sort(key=lambda each: (-each["foreground_mean_iou"], each["wrong"], -each["foreground"], each["index"]))
    return {
        "worst": [each["index"] for each in worst],
        "best": [each["index"] for each in rest[:count]],
        "per_image": images,
    }


def _run_facts(run: Run) -> dict[str, Any]:
    history = run.path / "history.csv"
    rows: list[dict[str, Any]] = []
    if history.is_file():
        with history.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    return {"path": str(run.path), "info": dict(run.info), "history": rows}
