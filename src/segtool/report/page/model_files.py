"""The model files of a report: the files that a user names, and those of the runs that a user names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segtool.errors import ModelFileError
from segtool.models.resolve import (
    INT8_NAME,
    LATEST,
    ONNX_NAME,
    RUN_NAME,
    Kind,
    Run,
    find_model,
    read_run,
)
from segtool.models.shipped import default_model


@dataclass(frozen=True)
class ModelFile:
    """A model file of the report.

    Attributes
    ----------
    path, kind
        The file and its kind.
    run
        The run of the file; None for a file outside of a run.
    label
        Its name in the report, unique there.
    """

    path: Path
    kind: Kind
    run: Run | None
    label: str = ""


def find_model_files(models: Sequence[Path]) -> list[ModelFile]:
    """Return the model files of run folders and files, each once, in the order given.

    A run folder gives its exported files, FP32 first, or its trained model if there is no exported file. Without models
    the latest run is used, or the file that ships with segtool if there is no run.

    Raises
    ------
    ModelFileError
        A model does not exist, or a run is unfinished.
    """
    named = [_without_link(path) for path in models or [_default()]]
    found = {file.path.resolve(): file for path in named for file in _of(path)}
    return _labelled(list(found.values()))


def _default() -> Path:
    return LATEST if LATEST.is_dir() else default_model()


def _without_link(path: Path) -> Path:
    """Return a run folder, or a file in one, without symbolic links: runs/latest changes over time."""
    if (path / RUN_NAME).is_file():
        return _target(path)
    return _target(path.parent) / path.name if (path.parent / RUN_NAME).is_file() else path


def _target(folder: Path) -> Path:
    while folder.is_symlink():
        folder = folder.parent / folder.readlink()
    return folder


def _of(path: Path) -> Iterator[ModelFile]:
    if not path.is_dir():
        source = find_model(path)
        run = read_run(path.parent) if (path.parent / RUN_NAME).is_file() else None
        yield ModelFile(source.path, source.kind, run)
        return
    run = read_run(path)
    _refuse_unfinished(run)
    exported = [path / name for name in (ONNX_NAME, INT8_NAME) if (path / name).is_file()]
    for file in exported:
        yield ModelFile(file, "onnx", run)
    if not exported:
        yield ModelFile(find_model(path, kind="keras").path, "keras", run)


def _refuse_unfinished(run: Run) -> None:
    """Refuse a run whose training is unfinished; a run.json without a status counts as finished."""
    if run.info.get("status", "complete") == "complete":
        return
    history = run.path / "history.csv"
    done = max(0, len(history.read_text(encoding="utf-8").splitlines()) - 1) if history.is_file() else 0
    total = run.info.get("epochs")
    raise ModelFileError(
        f"The run {run.path} is unfinished ({done} of {total} epochs), so there is no final result; finish it "
        f"with `segtool train --resume --out {run.path}`."
    )


def _labelled(files: Sequence[ModelFile]) -> list[ModelFile]:
    """Return the files with the shortest unique labels: the name, the name with its folder, or the full path."""
    names = [file.path.name for file in files]
    if len(set(names)) < len(names):
        names = [f"{file.path.resolve().parent.name}/{file.path.name}" for file in files]
    if len(set(names)) < len(names):
        names = [str(file.path) for file in files]
    return [replace(file, label=name) for file, name in zip(files, names, strict=True)]
