"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtool.errors import OutputExistsError, OutputWriteError

TEMPORARY = ".segtool-"
"""How the names of unfinished files begin; a kill can leave them behind."""


def refuse_existing(path: str | Path, *, overwrite: bool) -> Path:
    """Return `path` as a Path, or refuse where something is there that may not be replaced.

    Raises
    ------
    OutputExistsError
        `path` exists and `overwrite` is false.
    """
    target = Path(path)
    if not overwrite and (target.exists() or target.is_symlink()):
        raise OutputExistsError(
            f"{target} already exists and is left as it is; pass --overwrite to replace it, or choose another path."
        )
    return target


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it to `path`, synced to disk, when the block ends well.

    When the block raises, the temporary file is removed and `path` is left untouched.

    Raises
    ------
    OutputWriteError
        The operating system refused to write (disk full, no permission, no such folder).
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically; errors as in `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented UTF-8 JSON, atomically; NaN becomes null."""
    text = json.dumps(nan_to_none(value), indent=2, ensure_ascii=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8: escaped, it is valid JSON
        data = (json.dumps(nan_to_none(value), indent=2) + "\n").encode()
    write_bytes(path, data)


def nan_to_none(value: Any) -> Any:
    """Return a copy of a JSON-like value in which every NaN is None (JSON has no NaN)."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return value


def write_with(path: str | Path, writer: Callable[[Path], Any]) -> None:
    """Call `writer` with a temporary path beside `path`, then move what it wrote to `path` atomically."""
    with atomic_path(path) as temporary:
        writer(temporary)


def _write_error(target: Path, error: OSError) -> OutputWriteError:
    reason = error.strerror or str(error)
    return OutputWriteError(
        f"Could not write {target}: {reason}; free space or choose another place, nothing was left half-written."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    """Flush a file, or on POSIX a folder, to disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
