"""The folder of a training run: its files, its lock, and the link to the latest run."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtool.errors import OutputExistsError, OutputWriteError, TrainingError
from segtool.files import lock_file, nan_to_none, write_bytes, write_json
from segtool.models.resolve import KERAS_NAME, LATEST, RUN_NAME, read_run

RUNS = LATEST.parent
INFO_KEYS = ("config", "data", "precision", "recipe_values", "segtool_version")
HISTORY_COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_pixel_accuracy",
    "val_foreground_mean_iou",
    "val_foreground_mean_dice",
    "learning_rate",
    "seconds",
)


class RunFolder:
    """The paths of a run, and access to its small files; `path` is the folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info = self.path / RUN_NAME
        self.history = self.path / "history.csv"
        self.metrics = self.path / "metrics.json"
        self.model = self.path / KERAS_NAME
        self.checkpoint = self.path / "checkpoint.npz"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions.png"

    def read_info(self) -> dict[str, Any]:
        """Return run.json.

        Raises
        ------
        ModelFileError
            The folder is not a run folder.
        TrainingError
            run.json lacks what a training needs.
        """
        info = dict(read_run(self.path).info)
        if not set(INFO_KEYS) <= info.keys():
            raise TrainingError(f"{self.info} does not describe a run; start a new run with `segtool train`.")
        return info

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write run.json atomically."""
        write_json(self.info, dict(info))

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write history.csv atomically, one row per epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {key: "" if value is None else value for key, value in nan_to_none(dict(row)).items()} for row in rows
        )
        write_bytes(self.history, text.getvalue().encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run for this process; the system releases the lock even after a kill -9.

        Raises
        ------
        TrainingError
            Another process is training in this folder.
        """
        with (self.path / ".lock").open("w") as handle:
            if not lock_file(handle.fileno()):
                raise TrainingError(f"Another process is training in {self.path}; wait until it ends, or stop it.")
            yield


def create_run_folder(path: str | Path | None, *, arch: str) -> RunFolder:
    """Create a new run folder, `path` or runs/<arch>-<date>-<time>.

    Raises
    ------
    OutputExistsError
        `path` exists and is not an empty folder.
    OutputWriteError
        The folder cannot be created.
    """
    target = Path(path) if path else _free_name(RUNS / f"{arch}-{time.strftime('%Y%m%d-%H%M%S')}")
    refuse_used(target)
    with _creating(target):
        target.mkdir(parents=True, exist_ok=True)
    return RunFolder(target)


def refuse_used(path: Path) -> None:
    """Refuse a path for a new run that exists and is not an empty folder.

    Raises
    ------
    OutputExistsError
        It is in use.
    OutputWriteError
        It cannot be read.
    """
    with _creating(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputExistsError(
                f"{path} already exists and is not overwritten; choose another --out, or continue the run there with "
                "--resume."
            )


@contextmanager
def _creating(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputWriteError(
            f"Could not create the run folder {target} ({error.strerror}); choose another --out."
        ) from error


def point_latest(folder: RunFolder) -> None:
    """Point the link runs/latest to `folder`; a run outside runs/ is linked by its absolute path.

    Raises
    ------
    OutputWriteError
        The link cannot be created, for example because runs is a file.
    """
    link = RUNS / f".latest-{os.getpid()}"
    try:
        RUNS.mkdir(exist_ok=True)
        inside = folder.path.resolve().parent == RUNS.resolve()
        link.unlink(missing_ok=True)
        link.symlink_to(folder.path.name if inside else folder.path.resolve())
        link.replace(LATEST)
    except OSError as error:
        with suppress(OSError):
            link.unlink(missing_ok=True)
        raise OutputWriteError(
            f"{LATEST} could not be linked to {folder.path} ({error.strerror}); expected a symbolic link or no file "
            f"there: move or remove {LATEST}."
        ) from error


def open_run_folder(path: str | Path | None) -> RunFolder:
    """Return an existing run folder, `path` or the latest run.

    Raises
    ------
    TrainingError
        The folder does not exist.
    """
    target = Path(path) if path else LATEST
    if not target.is_dir():
        raise TrainingError(f"There is no run to resume at {target}; start one with `segtool train`.")
    return RunFolder(target)


def _free_name(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
