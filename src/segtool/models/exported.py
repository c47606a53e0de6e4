"""Resolving the files and run folders that a user names to exported files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segtool.models.resolve import INT8_NAME, ONNX_NAME, latest_exported, read_run


def exported_files(named: Sequence[Path]) -> list[Path]:
    """Return the named files, with each run folder replaced by its exported files, FP32 first.

    Raises
    ------
    ModelFileError
        A folder is not a run folder, or has no exported file.
    """
    return [file for path in named for file in _of(path)]


def _of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    read_run(path)
    files = [file for name in (ONNX_NAME, INT8_NAME) if (file := path / name).is_file()]
    return files or [latest_exported(path)]
