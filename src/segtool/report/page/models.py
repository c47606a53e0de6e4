"""The models of a report: the files that a user names, opened once, and the images that each is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
    """An opened model of the report: its file, its name there, and the images that it is scored on."""

    source: ModelSource
    label: str
    predictor: Predictor
    selection: Selection


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


def open_models(sources: Sequence[ModelSource], options: ReportOptions) -> tuple[list[Model], str]:
    """Open the models and select the images that each is scored on; also return the note of `_select`."""
    exported = any(source.kind == "onnx" for source in sources)
    if not exported and (options.provider != "auto" or options.threads is not None or options.runs is not None):
        raise ModelFileError(
            "A provider, threads or timed runs were given, but they need an exported .onnx file and there is none; "
            "remove them, or export the model."
        )
    predictors = [_open(source, options) for source in sources]
    selections, note = _select(predictors, data=options.data, part=options.split)
    for predictor, selection in zip(predictors, selections, strict=True):
        refuse_other_classes(predictor.contract, selection.data)
    opened = zip(sources, short_names([source.path for source in sources]), predictors, selections, strict=True)
    return [Model(*each) for each in opened], note


def training_facts(contract: ModelContract, selection: Selection) -> dict[str, Any]:
    """Return whether a model was trained on the images that it is scored on.

    ``own_data`` is whether the data are its training data. ``own_part`` is whether the images are a part of its own
    split of them. ``trained_on`` is the number of images that were in its training, None if unknown.
    """
    own, data = _is_own(contract, selection), selection.data
    known = contract.split or {"train", "val"} <= (data.splits or {}).keys()
    if not own or not known:
        return {"own_data": own, "own_part": own, "trained_on": None}
    parts = parts_of(data, contract.split)
    part = None if selection.part == "all" else getattr(parts, selection.part)
    return {
        "own_data": True,
        "own_part": part is None or selection.same_images(replace(selection, indices=part)),
        "trained_on": int(np.isin(selection.indices, parts.train).sum()),
    }


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
        f"The run {run.path} is unfinished ({done} of {run.info.get('epochs')} epochs), so there is no final result; "
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


def _select(predictors: Sequence[Predictor], *, data: str | None, part: str | None) -> tuple[list[Selection], str]:
    """Return the images that each model is scored on, and a note if the trainings of the models split them differently.

    Without `data` each model is scored on the data of its own run. With `data` all models are scored on the same
    images: those that are in the part for every model that was trained on these data. If there are none, the split of
    one model decides.
    """
    own = _own(predictors, data=data, part=part)
    if data is None:
        return own, ""
    trained = [each for predictor, each in zip(predictors, own, strict=True) if _is_own(predictor.contract, each)]
    first = trained[0] if trained else own[0]
    shared = _common(trained) or first
    if all(shared.same_images(each) for each in own):
        return [shared] * len(own), ""
    if not shared.same_images(first):
        rule = "which are in this part for each model that was trained on the data"
    else:
        rule = f"as split for {predictors[own.index(first)].path}"
    images = f"{len(shared.indices)} images of {data}, part {shared.part}"
    return [shared] * len(own), f"The models use different splits of the data; all are scored on {images}, {rule}."


def _own(predictors: Sequence[Predictor], *, data: str | None, part: str | None) -> list[Selection]:
    """Return the images of each model by its own split; models of one run share them."""
    keys = [repr((each.path.parent, each.contract.split, each.contract.data_fingerprint)) for each in predictors]
    distinct = dict(zip(keys, predictors, strict=True))
    found = {key: select([predictor], data=data, part=part) for key, predictor in distinct.items()}
    return [found[key] for key in keys]


def _common(selections: Sequence[Selection]) -> Selection | None:
    """Return the images that several selections of the same data have in common; None if there are none."""
    if len({each.data.fingerprint() for each in selections}) != 1:
        return None
    first = selections[0]
    inside = np.all([np.isin(first.indices, each.indices) for each in selections], axis=0)
    return Selection(first.data, first.part, first.indices[inside]) if inside.any() else None


def _is_own(contract: ModelContract, selection: Selection) -> bool:
    return bool(contract.data_fingerprint) and contract.data_fingerprint == selection.data.fingerprint()
