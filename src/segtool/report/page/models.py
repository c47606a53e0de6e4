"""The models of a report: the files that a user names, opened once, and the images that they are scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.contract import ModelContract
from segtool.errors import ModelFileError
from segtool.evaluate.selection import Selection, parts_of, refuse_other_classes, select
from segtool.models.predictor import Predictor, open_predictor
from segtool.models.resolve import INT8_NAME, LATEST, ONNX_NAME, RUN_NAME, ModelSource, Run, find_model, read_run
from segtool.models.shipped import default_model
from segtool.report.page.options import ReportOptions
from segtool.text import short_names


@dataclass(frozen=True, eq=False)
class Model:
    """An opened model of the report: its file and its name there."""

    source: ModelSource
    label: str
    predictor: Predictor


def find_model_files(models: Sequence[Path]) -> list[ModelSource]:
    """Return the model files of run folders and files with their runs, each once, in the order given.

    A run folder gives its exported files, FP32 first, or its trained model if there is no exported file. Without models
    the latest run is used, or the file that ships with segtool if there is no run.

    Raises
    ------
    ModelFileError
        A model does not exist, or a run is unfinished.
    """
    named = models or [LATEST if LATEST.is_dir() else default_model()]
    found = {source.path.resolve(): source for path in named for source in _files_of(_without_link(path))}
    return list(found.values())


def open_models(sources: Sequence[ModelSource], options: ReportOptions) -> tuple[list[Model], Selection]:
    """Open the models and select the images that all are scored on, as `segtool evaluate` does."""
    exported = any(source.kind == "onnx" for source in sources)
    if not exported and (options.provider != "auto" or options.threads is not None or options.runs is not None):
        raise ModelFileError(
            "A provider, threads or timed runs were given, but they need an exported .onnx file and there is none; "
            "remove them, or export the model."
        )
    predictors = [_open(source, options) for source in sources]
    selection = select(predictors, data=options.data, part=options.split)
    for predictor in predictors:
        refuse_other_classes(predictor.contract, selection.data)
    names = short_names([source.path for source in sources])
    return [Model(*each) for each in zip(sources, names, predictors, strict=True)], selection


def training_facts(contract: ModelContract, selection: Selection) -> dict[str, Any]:
    """Return whether a model was trained on the images that it is scored on.

    ``own_data`` is whether the data are its training data. ``trained_on`` is the number of images that were in its
    training, None if unknown.
    """
    data = selection.data
    own = bool(contract.data_fingerprint) and contract.data_fingerprint == data.fingerprint()
    known = own and (contract.split or {"train", "val"} <= (data.splits or {}).keys())
    seen = int(np.isin(selection.indices, parts_of(data, contract.split).train).sum()) if known else None
    return {"own_data": own, "trained_on": seen}


def _without_link(path: Path) -> Path:
    """Return a run folder, or a file in one, without symbolic links: runs/latest changes over time."""
    if (path / RUN_NAME).is_file():
        while path.is_symlink():
            path = path.parent / path.readlink()
        return path
    return _without_link(path.parent) / path.name if (path.parent / RUN_NAME).is_file() else path


def _files_of(path: Path) -> Iterator[ModelSource]:
    if not path.is_dir():
        found = find_model(path)
        run = read_run(path.parent) if (path.parent / RUN_NAME).is_file() else None
        yield ModelSource(found.path, found.kind, run)
        return
    run = read_run(path)
    _refuse_unfinished(run)
    exported = [path / name for name in (ONNX_NAME, INT8_NAME) if (path / name).is_file()]
    yield from (ModelSource(file, "onnx", run) for file in exported)
    if not exported:
        yield find_model(path, kind="keras")


def _refuse_unfinished(run: Run) -> None:
    """Refuse a run whose training is unfinished; a run.json without a status counts as finished."""
    if run.info.get("status", "complete") == "complete":
        return
    history = run.path / "history.csv"
    done = max(0, len(history.read_text(encoding="utf-8").splitlines()) - 1) if history.is_file() else 0
    raise ModelFileError(
        f"The run {run.path} is unfinished (epoch {done} of {run.info.get('epochs')}), so there is no final result; "
        f"finish it with `segtool train --resume --out {run.path}`."
    )


def _open(source: ModelSource, options: ReportOptions) -> Predictor:
    """Open a model: an .onnx file first in a separate process; a trained network without provider and threads."""
    if source.kind == "keras":
        return open_predictor(source.path)
    return open_predictor(
        source.path,
        provider=options.provider,
        threads=options.threads,
        provider_options=options.provider_options,
        sandbox=True,
    )
