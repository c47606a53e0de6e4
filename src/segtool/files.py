"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import json
import math
import os
import secrets
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
    """Give a temporary path beside `path`; move it to `path`, its content on disk, when the block ends well.

    When the block raises, the temporary file is removed and `path` is left untouched.

    Raises
    ------
    OutputWriteError
        The operating system refused to write (disk full, no permission, no such folder).
    """
    target = Path(path)
    with _removed_on_failure(target) as (temporary, descriptor):
        os.close(descriptor)
        yield temporary
        _sync(temporary)


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` atomically; errors as in `atomic_path`."""
    with _removed_on_failure(Path(path)) as (_, descriptor), os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(descriptor)


@contextmanager
def _removed_on_failure(target: Path) -> Iterator[tuple[Path, int]]:
    """Give a new file beside `target` and its descriptor; it becomes `target` when the block ends well."""
    try:
        temporary, descriptor = _new_beside(target)
    except OSError as error:
        raise write_error(target, error) from error
    try:
        yield temporary, descriptor
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(target, error) from error
        raise


def _new_beside(target: Path) -> tuple[Path, int]:
    """Create a file of an unused name in the folder of `target`, made where it is missing; the umask applies."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    temporary = target.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{target.suffix}")
    try:
        return temporary, os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        return temporary, os.open(temporary, flags, 0o666)


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


def write_error(target: Path, error: OSError) -> OutputWriteError:
    """Return the error that says that the operating system refused to write `target`, and why."""
    reason = error.strerror or str(error)
    return OutputWriteError(
        f"Could not write {target}: {reason}; free space or choose another place, nothing was left half-written."
    )


def _sync(path: Path) -> None:
    """Flush a file to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
