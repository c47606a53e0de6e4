"""The JSON of a report: the figures of the other commands, and the results derived from them.

Each model is opened once and sees each image once. This pass counts the figures of `evaluate`, the scores of single
images, and the labels that differ between FP32 and INT8.
"""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import segtool
from segtool.array_types import IntegerArray
from segtool.errors import DataError, ModelFileError
from segtool.evaluate.evaluate import EvaluateOptions, evaluation_of, tally_of
from segtool.evaluate.evaluation import Evaluation
from segtool.evaluate.selection import Selection, refuse_other_classes
from segtool.files import sha256_of
from segtool.machine.machine import machine_info
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import read_run
from segtool.report.page.model_files import ModelFile
from segtool.report.page.options import GraphFacts, Progress, ReportOptions
from segtool.report.page.scoring import Changes, extremes, image_scores
from segtool.report.page.shared_images import same_images, select_images, training_facts
from segtool.report.page.timing import measure_models, speed_ratio


@dataclass(frozen=True, eq=False)
class Model:
    """An opened model of the report, and the images that it is scored on."""

    file: ModelFile
    predictor: Predictor
    selection: Selection


@dataclass(frozen=True)
class Pair:
    """The ids of an FP32 file and of the INT8 file made from it, and the differences between their labels."""

    float32: int
    int8: int
    changes: Changes


def open_models(files: Sequence[ModelFile], options: ReportOptions) -> tuple[list[Model], str]:
    """Open the models and select the images that each is scored on; also return the note of `select_images`.

    An .onnx file is first tried in a separate process.
    """
    if not any(file.kind == "onnx" for file in files):
        _refuse_device(options)
    predictors = [_open(file, options) for file in files]
    selections, note = select_images(predictors, data=options.data, part=options.split)
    for predictor, selection in zip(predictors, selections, strict=True):
        refuse_other_classes(predictor.contract, selection.data)
        if not len(selection.indices):
            raise DataError(
                f"{selection.data.spec} has no images in the part {selection.part}; choose another --split."
            )
    return [Model(*each) for each in zip(files, predictors, selections, strict=True)], note


def _refuse_device(options: ReportOptions) -> None:
    """Refuse options for exported models if there is none, because they would be ignored."""
    if (options.provider, options.threads, options.runs) != ("auto", None, ReportOptions.runs):
        raise ModelFileError(
            "A provider, threads or timed runs were given, but they need an exported .onnx file and there is none; "
            "remove them, or export the model."
        )


def _open(file: ModelFile, options: ReportOptions) -> Predictor:
    """Open a model; a trained network takes no provider or threads."""
    if file.kind == "keras":
        return open_predictor(file.path)
    return open_predictor(
        file.path,
        provider=options.provider,
        threads=options.threads,
        provider_options=options.provider_options,
        sandbox=True,
    )


def collect(
    models: Sequence[Model], options: ReportOptions, *, graph: GraphFacts, progress: Progress
) -> dict[str, Any]:
    """Score and time the models; return the JSON of the report.

    Parameters
    ----------
    models
        The opened models.
    graph
        Returns facts on the graph of a file; an empty mapping if they are unknown.
    progress
        Called with (name of the work, amount done, total amount).
    """
    evaluations, pairs = _score(models, progress)
    segmenters = [model.predictor.segmenter for model in models if model.predictor.segmenter is not None]
    rows = measure_models(segmenters, options, progress) if options.latency and segmenters else {}
    facts = [
        {
            "id": number,
            **_facts(model, graph),
            "evaluation": evaluations[number].to_dict(),
            **_image_facts(evaluations[number], options.samples),
            "benchmark": rows.get(model.file.path),
        }
        for number, model in enumerate(models)
    ]
    runs = dict.fromkeys(model.file.run.path for model in models if model.file.run)
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "segtool_version": segtool.__version__,
        "machine": machine_info(),
        "models": facts,
        "pairs": [_pair_facts(pair, facts, evaluations[pair.int8].selection.data.class_names) for pair in pairs],
        "runs": [_run_facts(path) for path in runs],
    }


def _score(models: Sequence[Model], progress: Progress) -> tuple[list[Evaluation], list[Pair]]:
    """Score the models, together if they use the same images, and pair FP32 with INT8."""
    evaluations: dict[int, Evaluation] = {}
    found: list[Pair] = []
    waiting = list(range(len(models)))
    while waiting:
        first = models[waiting[0]].selection
        group = [number for number in waiting if same_images(first, models[number].selection)]
        waiting = [number for number in waiting if number not in group]
        pairs = _pairs_in({number: models[number] for number in group}, first.data.num_classes)
        evaluations |= _score_group(models, group, pairs, progress)
        found += pairs
    return [evaluations[number] for number in range(len(models))], found


def _score_group(
    models: Sequence[Model], group: Sequence[int], pairs: Sequence[Pair], progress: Progress
) -> dict[int, Evaluation]:
    """Score models on the same images in one pass that also compares the labels of each pair."""
    selection = models[group[0]].selection
    names = selection.names

    def compare(at: int, labels: Sequence[IntegerArray]) -> None:
        for pair in pairs:
            first, second = (labels[group.index(number)] for number in (pair.float32, pair.int8))
            for place, maps in enumerate(zip(first, second, strict=True), start=at):
                pair.changes.add(int(selection.indices[place]), names[place], *maps)

    settings = EvaluateOptions()
    tallies = tally_of(
        [models[number].predictor for number in group],
        selection,
        settings,
        lambda done, total: progress("images", done, total),
        seen=compare,
    )
    return {
        number: evaluation_of(
            models[number].predictor, replace(models[number].selection, indices=selection.indices), counted, settings
        )
        for number, counted in zip(group, tallies, strict=True)
    }


def _pairs_in(models: Mapping[int, Model], classes: int) -> list[Pair]:
    """Return the pairs of an FP32 file and the INT8 file whose contract names it."""
    digests = {
        sha256_of(each.file.path): number
        for number, each in models.items()
        if each.predictor.contract.precision == "float32"
    }
    wanted = {
        number: str(each.predictor.contract.quantization.get("float32_sha256")) for number, each in models.items()
    }
    return [
        Pair(digests[digest], number, Changes(np.zeros((classes, classes), np.int64)))
        for number, digest in wanted.items()
        if digest in digests
    ]


def _facts(model: Model, graph: GraphFacts) -> dict[str, Any]:
    file, contract, segmenter = model.file, model.predictor.contract, model.predictor.segmenter
    run = file.run.info if file.run else {}
    facts = dict(graph(file.path)) if segmenter else {}
    return {
        "label": file.label,
        "path": str(file.path),
        "kind": file.kind,
        "size_bytes": file.path.stat().st_size,
        "sha256": sha256_of(file.path),
        "run": str(file.run.path) if file.run else None,
        "arch": run.get("arch"),
        "parameters": facts.get("parameters") or run.get("parameters"),
        "graph": facts,
        "contract": {**asdict(contract), "color_order": contract.color_order},
        "provider": dict(model.predictor.provider_report),
        "golden": segmenter.verify().to_dict() if segmenter else None,
        **training_facts(contract, model.selection),
    }


def _image_facts(evaluation: Evaluation, count: int) -> dict[str, Any]:
    scores = image_scores(evaluation)
    worst, best = extremes(scores, count)
    return {
        "worst": [each.index for each in worst],
        "best": [each.index for each in best],
        "per_image": [asdict(each) for each in scores],
    }


def _pair_facts(pair: Pair, models: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> dict[str, Any]:
    first, second = models[pair.float32], models[pair.int8]
    keys = ("foreground_mean_iou", "foreground_mean_dice", "pixel_accuracy")
    return {
        "float32": pair.float32,
        "int8": pair.int8,
        "drop_points": {key: 100 * (first["evaluation"][key] - second["evaluation"][key]) for key in keys},
        **pair.changes.to_dict(class_names),
        "speed": speed_ratio(first["benchmark"], second["benchmark"]),
    }


def _run_facts(path: Path) -> dict[str, Any]:
    history = path / "history.csv"
    rows: list[dict[str, Any]] = []
    if history.is_file():
        with history.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    return {"path": str(path), "info": dict(read_run(path).info), "history": rows}
