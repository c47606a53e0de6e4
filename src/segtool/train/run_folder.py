"""The folder of a training run: its files, its lock, and the link to the latest run."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtool.errors import OutputExistsError, OutputWriteError, TrainingError
from segtool.files import lock_file, nan_to_none, write_bytes, write_json

RUNS = Path("runs")
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
        self.info = self.path / "run.json"
        self.history = self.path / "history.csv"
        self.metrics = self.path / "metrics.json"
        self.model = self.path / "model.keras"
        self.checkpoint = self.path / "checkpoint.npz"
        self.curves = self.path / "curves.png"
        self.predictions = self.path / "predictions.png"

    def read_info(self) -> dict[str, Any]:
        """Return run.json.

        Raises
        ------
        TrainingError
            The folder is not a run folder.
        """
        try:
            info = json.loads(self.info.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TrainingError(
                f"{self.path} is not a run folder (it has no run.json); start a run with `segtool train`."
            ) from None
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{self.info} cannot be read ({error}); start a new run with `segtool train`."
            ) from error
        if not isinstance(info, dict) or not set(INFO_KEYS) <= info.keys():
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
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputExistsError(
                f"{target} already exists and is not overwritten; choose another --out, or continue the run there with "
                "--resume."
            )
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputWriteError(
            f"Could not create the run folder {target} ({error.strerror}); choose another --out."
        ) from error
    return RunFolder(target)


def point_latest(folder: RunFolder) -> None:
    """Point the link runs/latest to `folder`; a run outside runs/ is linked by its absolute path.

    Raises
    ------
    OutputWriteError
        The link cannot be created, for example because runs is a file.
    """
    link, latest = RUNS / f".latest-{os.getpid()}", RUNS / "latest"
    try:
        RUNS.mkdir(exist_ok=True)
        inside = folder.path.resolve().parent == RUNS.resolve()
        link.unlink(missing_ok=True)
        link.symlink_to(folder.path.name if inside else folder.path.resolve())
        link.replace(latest)
    except OSError as error:
        with suppress(OSError):
            link.unlink(missing_ok=True)
        raise OutputWriteError(
            f"{latest} could not be linked to {folder.path} ({error.strerror}); expected a symbolic link or no file "
            f"there: move or remove {latest}."
        ) from error


def open_run_folder(path: str | Path | None) -> RunFolder:
    """Return an existing run folder, `path` or the latest run.

    Raises
    ------
    TrainingError
        The folder does not exist.
    """
    target = Path(path) if path else RUNS / "latest"
    if not target.is_dir():
        raise TrainingError(f"There is no run to resume at {target}; start one with `segtool train`.")
    return RunFolder(target)


def _free_name(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
