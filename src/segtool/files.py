"""Write files atomically, so that a reader never sees a partial file."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from segtool.errors import DataError, OutputExistsError, OutputWriteError, reason_of
from segtool.stopping import postponed

TEMPORARY = ".segtool-"
"""Prefix of the names of unfinished files; a kill can leave them behind."""

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)), "free disk space or choose another path"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check the permissions or choose another path"),
}


@contextmanager
def temporary_folder(prefix: str = "segtool-", *, beside: str | Path | None = None) -> Iterator[Path]:
    """Yield a private folder that is removed at the end of the block.

    A stop waits until it is created, and until it is removed: in the middle of either, `tempfile.TemporaryDirectory`
    would leave it behind.

    Parameters
    ----------
    prefix
        Of its name.
    beside
        The folder to create it in; None for that of temporary files.
    """
    from tempfile import TemporaryDirectory

    with postponed():
        name = f"{prefix}{os.getpid()}-"
        folder = TemporaryDirectory(prefix=name, dir=beside, ignore_cleanup_errors=beside is not None)
    try:
        yield Path(folder.name)
    finally:
        with postponed():
            folder.cleanup()


def refuse_existing(path: str | Path, *, overwrite: bool, otherwise: str = "choose another path") -> Path:
    """Return `path` as a Path, or refuse an existing file that must not be replaced.

    `otherwise` is what the user can do in place of --overwrite.

    Raises
    ------
    OutputExistsError
        `path` exists and `overwrite` is false.
    """
    target = Path(path)
    if not overwrite and (target.exists() or target.is_symlink()):
        raise OutputExistsError(
            f"{target} already exists and was not changed; pass --overwrite to replace it, or {otherwise}."
        )
    return target


def named_twice(paths: Iterable[str | Path]) -> Path | None:
    """Return the first output that is the same file as an earlier one; None if all differ."""
    seen: set[str] = set()
    for path in paths:
        real = os.path.realpath(path)
        if real in seen:
            return Path(path)
        seen.add(real)
    return None


def refuse_input_as_output(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would replace an input of a command, also with --overwrite.

    Parameters
    ----------
    outputs
        Files that will be written.
    inputs
        Input files, and folders whose files are all inputs; missing ones are ignored. Files are compared by identity,
        not by name: links are followed.

    Raises
    ------
    DataError
        An output is an input, or would lie in a folder of inputs.
    """
    read = [Path(path) for path in inputs]
    for path in outputs:
        for one in read:
            if _is_or_holds(one, Path(path)):
                raise DataError(
                    f"The output {path} would replace or join the input {one}; choose another path, also with "
                    "--overwrite."
                )


def _is_or_holds(read: Path, output: Path) -> bool:
    """Return whether an output is an input file, or lies in an input folder."""
    if not read.is_dir():
        return _same(read, output)
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(read)):
        return True
    return output.exists() and any(_same(file, output) for file in read.rglob("*"))


def _same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist
        return False


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; after success, sync it to disk and move it to `path`.

    If the block raises, the temporary file is removed and `path` is not changed.

    Raises
    ------
    OutputWriteError
        The operating system refused the write (disk full, no permission, no such folder).
    """
    with _removed_on_failure(os.fspath(path)) as (temporary, descriptor):
        os.close(descriptor)
        yield Path(temporary)
        _sync(temporary)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path`; after success, sync its files to disk and move it to `path`.

    If the block raises, the new folder is removed and `path` is not changed.

    Parameters
    ----------
    path
        The folder; its parents are created.
    overwrite
        Replace what is at `path`, with all that it contains. It is removed when the new folder is in its place.

    Raises
    ------
    OutputExistsError
        `path` exists and `overwrite` is false.
    OutputWriteError
        The operating system refused the write.
    """
    target = refuse_existing(path, overwrite=overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(TEMPORARY, beside=target.parent) as folder:
            new = folder / "new"  # its permissions are the usual ones, those of a temporary folder are not
            new.mkdir()
            yield new
            for file in filter(Path.is_file, new.rglob("*")):
                _sync(os.fspath(file))
            _put_in_place(new, target, folder / "old")
    except OSError as error:
        raise write_error(target, error) from error


def _put_in_place(new: Path, target: Path, old: Path) -> None:
    """Move `new` to `target`, and what is there to `old`; a stop waits until both are done."""
    with postponed():
        replaces = target.exists() or target.is_symlink()
        if replaces:
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if replaces:
                old.rename(target)
            raise


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` atomically; errors as in `atomic_path`."""
    with _removed_on_failure(os.fspath(path)) as (_, descriptor), os.fdopen(descriptor, "wb", buffering=0) as handle:
        left = memoryview(data)
        while left:  # an unbuffered file may write only a part
            left = left[handle.write(left) :]
        os.fsync(descriptor)


# Names are strings from here on: with a Path at each step, a folder of small images takes a quarter more time.


@contextmanager
def _removed_on_failure(target: str) -> Iterator[tuple[str, int]]:
    """Yield a new file beside `target` and its descriptor; it becomes `target` after success."""
    try:
        temporary, descriptor = _new_beside(target)
    except OSError as error:
        raise write_error(target, error) from error
    try:
        yield temporary, descriptor
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        if isinstance(error, OSError):
            raise write_error(target, error) from error
        raise


def _new_beside(target: str) -> tuple[str, int]:
    """Create a file with an unused name in the folder of `target`, and the folder if missing; the umask applies."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    folder, name = os.path.split(target)
    suffix = os.path.splitext(name)[1]  # noqa: PTH122
    temporary = os.path.join(folder, f"{TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}{suffix}")  # noqa: PTH118
    try:
        return temporary, os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(folder or ".", exist_ok=True)  # noqa: PTH103
        return temporary, os.open(temporary, flags, 0o666)


def remove_unfinished(folders: Iterable[str | Path]) -> int:
    """Remove the temporary files and folders of killed processes in some folders; return their number.

    Files of other running processes are kept. Files with the number of this process are removed, because a process in
    a container often has the number of an earlier one.
    """
    removed = 0
    for folder in folders:
        for path in _temporary_files(folder):
            if not _of_another_process(path):
                with suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    removed += 1
    return removed


def _temporary_files(folder: str | Path) -> list[Path]:
    """Return the temporary files in a folder, which may contain very many files; none if it is not readable."""
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(TEMPORARY)]
    except OSError:
        return []


def lock_file(descriptor: int) -> bool:
    """Lock an open file for this process; return False at once if another process holds the lock.

    The system releases the lock when the file is closed, also after a kill -9. Windows and some network file systems
    have no such lock. Two processes are not detected there.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of the bytes of a file in hexadecimal; the caller handles OSError."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented UTF-8 JSON, atomically; NaN becomes null."""
    text = json.dumps(nan_to_none(value), indent=2, ensure_ascii=False) + "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: escaped, it is valid JSON
        data = (json.dumps(nan_to_none(value), indent=2) + "\n").encode()
    write_bytes(path, data)


def nan_to_none(value: Any) -> Any:
    """Return a copy of a JSON-like value with None in place of NaN (JSON has no NaN)."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return value


def write_with(path: str | Path, writer: Callable[[Path], Any]) -> None:
    """Call `writer` with a temporary path beside `path`, then move the file to `path` atomically."""
    with atomic_path(path) as temporary:
        writer(temporary)


def _of_another_process(path: Path) -> bool:
    """Return whether a temporary file belongs to another running process; on Windows this is unknown."""
    number = path.name.removeprefix(TEMPORARY).split("-", maxsplit=1)[0]
    if os.name == "nt" or not number.isdecimal() or int(number) in (0, os.getpid()):
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_error(target: str | Path, error: OSError) -> OutputWriteError:
    """Return the error for a refusal of the operating system, as one sentence."""
    advice = _ADVICE.get(error.errno or 0, "choose another path")
    return OutputWriteError(f"Could not write {target}: {reason_of(error)}; {advice}. No partial file was left.")


def _sync(path: str) -> None:
    """Flush a file to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
