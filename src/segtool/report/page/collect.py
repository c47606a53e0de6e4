"""Everything that a report says, as JSON: the figures of the other commands, and what follows from them."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import segtool
from segtool.contract import ModelContract
from segtool.data.base import Dataset, Indices
from segtool.errors import DataError, ModelFileError
from segtool.evaluate.evaluate import EvaluateOptions, evaluation_of, open_for, tally_of
from segtool.evaluate.selection import Selection, refuse_other_classes
from segtool.files import sha256_of
from segtool.machine.machine import machine_info
from segtool.models.predictor import Predictor
from segtool.report.page.options import GraphFacts, Progress, ReportOptions
from segtool.report.page.scoring import Changes, ImageScore, extremes, score_images
from segtool.report.page.shared_images import same_images, select_images, training_facts
from segtool.report.page.subjects import Subject
from segtool.report.page.timing import measure_models, speed_ratio
from segtool.runtime.segmenter import Segmenter, load


@dataclass
class Model:
    """A model of the report while it is made."""

    subject: Subject
    predictor: Predictor
    segmenter: Segmenter | None
    selection: Selection
    scores: list[ImageScore] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Dataset:
        """The data set that it is scored on."""
        return self.selection.data

    @property
    def indices(self) -> Indices:
        """The images of it that count."""
        return self.selection.indices

    @property
    def contract(self) -> ModelContract:
        """What the model expects and returns."""
        return self.predictor.contract


@dataclass
class Pair:
    """An FP32 file and the INT8 file that was made from it."""

    float32: Model
    int8: Model
    changes: Changes


def open_models(subjects: Sequence[Subject], options: ReportOptions) -> tuple[list[Model], str]:
    """Open the models and find the images that each is scored on; with a sentence as of `select_images`.

    An .onnx file is tried in a process of its own first.
    """
    if not any(subject.kind == "onnx" for subject in subjects):
        _refuse_device(options)
    segmenters = [_segmenter(subject, options) for subject in subjects]
    predictors = [open_for(subject.path, _settings(subject, options)) for subject in subjects]
    selections, note = select_images(predictors, data=options.data, part=options.split)
    for predictor, selection in zip(predictors, selections, strict=True):
        refuse_other_classes(predictor.contract, selection.data)
        if not len(selection.indices):
            raise DataError(
                f"{selection.data.spec} has no images in its part {selection.part}; choose another --split."
            )
    return [Model(*each) for each in zip(subjects, predictors, segmenters, selections, strict=True)], note


def _refuse_device(options: ReportOptions) -> None:
    """Refuse what says how an exported model is run, where there is none: it would be ignored."""
    if (options.provider, options.threads, options.runs) != ("auto", None, ReportOptions.runs):
        raise ModelFileError(
            "A provider, threads or timed runs were given, but no model is an exported .onnx file, which they are "
            "about; leave them out, or export the model."
        )


def _segmenter(subject: Subject, options: ReportOptions) -> Segmenter | None:
    if subject.kind != "onnx":
        return None
    return load(
        subject.path,
        provider=options.provider,
        threads=options.threads,
        provider_options=options.provider_options,
        sandbox=True,
    )


def _settings(subject: Subject, options: ReportOptions) -> EvaluateOptions:
    """Return how a model is scored; provider and threads mean nothing to a trained network."""
    if subject.kind == "keras":
        return EvaluateOptions(data=options.data, split=options.split)
    return EvaluateOptions(
        data=options.data,
        split=options.split,
        provider=options.provider,
        threads=options.threads,
        provider_options=options.provider_options,
    )


def collect(
    models: Sequence[Model], options: ReportOptions, *, graph: GraphFacts, progress: Progress
) -> tuple[dict[str, Any], list[Pair]]:
    """Measure everything; return the JSON of the report and the pairs of FP32 and INT8.

    Parameters
    ----------
    models
        The models, opened.
    graph
        Gives what a file's graph is made of; an empty mapping where that is not known.
    progress
        Called with what is done, how much of it, and how much there is.
    """
    pairs = _score(models, progress)
    rows = _times(models, options, progress)
    for number, model in enumerate(models):
        model.facts = {
            "id": number,
            **_facts(model, graph),
            "evaluation": _evaluation(model, options, progress),
            **_image_facts(model, options.samples),
            "benchmark": rows.get(model.subject.path),
        }
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "segtool_version": segtool.__version__,
        "machine": machine_info(),
        "models": [model.facts for model in models],
        "pairs": [_pair_facts(pair, rows) for pair in pairs],
        "runs": [
            _run_facts(path) for path in dict.fromkeys(each.subject.run.path for each in models if each.subject.run)
        ],
    }, pairs


def _score(models: Sequence[Model], progress: Progress) -> list[Pair]:
    """Score the models, those of the same images together, and pair FP32 with INT8."""
    found: list[Pair] = []
    waiting = list(models)
    while waiting:
        group = [each for each in waiting if same_images(waiting[0].selection, each.selection)]
        waiting = [each for each in waiting if each not in group]
        by_key = {str(models.index(each)): each for each in group}
        pairs = _pairs_in(by_key)
        scores, changes = score_images(
            {key: each.predictor for key, each in by_key.items()},
            pairs,
            group[0].data,
            group[0].indices,
            progress=lambda done, total: progress("images", done, total),
        )
        for key, each in by_key.items():
            each.scores = scores[key]
        found += [Pair(by_key[first], by_key[second], changes[first, second]) for first, second in pairs]
    return found


def _pairs_in(models: Mapping[str, Model]) -> list[tuple[str, str]]:
    """Return (FP32, INT8) keys of files of which the second says that it was made from the first."""
    digests = {
        sha256_of(each.subject.path): key for key, each in models.items() if each.contract.precision == "float32"
    }
    wanted = {key: str(each.contract.quantization.get("float32_sha256")) for key, each in models.items()}
    return [(digests[digest], key) for key, digest in wanted.items() if digest in digests]


def _times(models: Sequence[Model], options: ReportOptions, progress: Progress) -> dict[Path, dict[str, Any]]:
    segmenters = [each.segmenter for each in models if each.segmenter is not None]
    return measure_models(segmenters, options, progress) if options.latency and segmenters else {}


def _evaluation(model: Model, options: ReportOptions, progress: Progress) -> dict[str, Any]:
    """Return the object of ``evaluate --json``."""
    settings = _settings(model.subject, options)
    [counted] = tally_of(
        [model.predictor], model.selection, settings, lambda done, total: progress("images scored", done, total)
    )
    return evaluation_of(model.predictor, model.selection, counted, settings).to_dict()


def _facts(model: Model, graph: GraphFacts) -> dict[str, Any]:
    subject, contract = model.subject, model.contract
    run = subject.run.info if subject.run else {}
    golden = model.segmenter.verify().to_dict() if model.segmenter else None
    facts = dict(graph(subject.path)) if model.segmenter else {}
    return {
        "label": subject.label,
        "path": str(subject.path),
        "kind": subject.kind,
        "size_bytes": subject.path.stat().st_size,
        "sha256": sha256_of(subject.path),
        "run": str(subject.run.path) if subject.run else None,
        "arch": run.get("arch"),
        "parameters": facts.get("parameters") or run.get("parameters"),
        "graph": facts,
        "contract": {**asdict(contract), "color_order": contract.color_order},
        "provider": dict(model.predictor.provider_report),
        "golden": golden,
        **training_facts(contract, model.selection),
    }


def _image_facts(model: Model, count: int) -> dict[str, Any]:
    worst, best = extremes(model.scores, count)
    return {
        "worst": [each.index for each in worst],
        "best": [each.index for each in best],
        "per_image": [asdict(each) for each in model.scores],
    }


def _pair_facts(pair: Pair, rows: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    first, second = pair.float32.facts, pair.int8.facts
    keys = ("foreground_mean_iou", "foreground_mean_dice", "pixel_accuracy")
    return {
        "float32": first["id"],
        "int8": second["id"],
        "drop_points": {key: 100 * (first["evaluation"][key] - second["evaluation"][key]) for key in keys},
        **pair.changes.to_dict(pair.int8.data.class_names),
        "speed": speed_ratio(rows.get(pair.float32.subject.path), rows.get(pair.int8.subject.path)),
    }


def _run_facts(path: Path) -> dict[str, Any]:
    from segtool.models.resolve import read_run

    history = path / "history.csv"
    rows: list[dict[str, Any]] = []
    if history.is_file():
        with history.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    return {"path": str(path), "info": dict(read_run(path).info), "history": rows}
