"""Find the complete image files of a folder by polling, with the standard library alone.

A poll lists a folder only if its modification time has changed. Otherwise it checks only the files that are still
incomplete. Names of removed files are forgotten, so that a watch can run without end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.predict.finding import images_below

_State = tuple[int, int]

SETTLE_SECONDS = 1.0
"""Time without a change of size and modification time before a file is read."""

PATIENCE_SECONDS = 10.0
"""Time without a change before a file that cannot be decoded counts as failed; until then it may be incomplete."""

LIST_SECONDS = 10.0
"""Maximum time between two listings: some network drives do not update the modification time of a folder."""

_TICK_SECONDS = 2.0
"""Resolution of a file system's clock: a second change within this time may be invisible."""


@dataclass
class _Waiting:
    """A file that may still be incomplete.

    Attributes
    ----------
    state
        Its size in bytes and its modification time in nanoseconds.
    since
        When the file reached that state, on the monotonic clock.
    tried
        Whether a read of the file failed in that state.
    """

    state: _State
    since: float
    tried: bool = False


class Arrivals:
    """The image files below a folder, except those in an output folder `out` inside it.

    Parameters
    ----------
    folder, out
        The two folders.
    settle, patience, relist
        Seconds, see `SETTLE_SECONDS`, `PATIENCE_SECONDS` and `LIST_SECONDS`.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        *,
        settle: float = SETTLE_SECONDS,
        patience: float = PATIENCE_SECONDS,
        relist: float = LIST_SECONDS,
    ) -> None:
        self._folder, self._out = folder, out
        self._settle, self._patience, self._relist = settle, patience, relist
        self._waiting: dict[Path, _Waiting] = {}
        self._done: set[Path] = set()
        self._failed: dict[Path, _State] = {}
        self._folders: dict[str, int] = {}
        self._listed = -relist
        self._look()

    @property
    def known(self) -> set[Path]:
        """The files that exist, or existed at the last poll."""
        return {*self._waiting, *self._done, *self._failed}

    @property
    def waiting(self) -> bool:
        """Whether there are files that may become complete."""
        return bool(self._waiting)

    def whole(self) -> list[Path]:
        """Return the files that are complete since the last poll, in alphabetical order.

        Raises
        ------
        DataError
            The folder does not exist.
        """
        self._look()
        now = time.monotonic()
        return [path for path, file in self._waiting.items() if now - file.since >= self._needed(file)]

    def settle(self, path: Path) -> None:
        """Mark a file as done: it is not returned again while it exists."""
        self._waiting.pop(path, None)
        self._failed.pop(path, None)
        self._done.add(path)

    def try_later(self, path: Path) -> bool:
        """Record that a file could not be read; return whether it will be returned again without a change."""
        file = self._waiting[path]
        if file.tried or time.monotonic() - file.since >= self._patience:
            self.give_up(path)
            return False
        file.tried = True
        return True

    def give_up(self, path: Path) -> None:
        """Mark a file as failed: it is returned again after a change."""
        self._failed[path] = self._waiting.pop(path).state

    def _needed(self, file: _Waiting) -> float:
        return self._patience if file.tried else self._settle

    def _look(self) -> None:
        if not self._folder.is_dir():
            raise DataError(f"The folder {self._folder} to watch does not exist; create it first.")
        paths = self._list() if self._is_to_list() else sorted({*self._waiting, *self._failed})
        self._waiting = {path: file for path in paths if (file := self._state_of(path)) is not None}

    def _list(self) -> list[Path]:
        """List the folders; forget removed files, and return the files that are not done."""
        self._listed = time.monotonic()
        visited: list[str] = []
        found = [*map(Path, images_below(self._folder, self._out, visited))]
        self._folders = self._changes(visited)
        for path in {*self._done, *self._failed}.difference(found):
            if _is_gone(path):
                self._done.discard(path)
                self._failed.pop(path, None)
        return [path for path in found if path not in self._done]

    def _is_to_list(self) -> bool:
        """Whether the files may have changed since the last listing."""
        now = time.monotonic()
        if now - self._listed >= self._relist or now - self._listed < 0:
            return True
        changes = self._changes(self._folders)
        return 0 in changes.values() or changes != self._folders

    def _changes(self, folders: Iterable[str]) -> dict[str, int]:
        """Return the modification time of each existing folder in ns; 0 if a later change may be invisible."""
        changes = {}
        recent = time.time() - _TICK_SECONDS
        for folder in folders:
            with suppress(OSError):
                changed = os.stat(folder)  # noqa: PTH116
                changes[folder] = 0 if changed.st_mtime > recent else changed.st_mtime_ns
        return changes

    def _state_of(self, path: Path) -> _Waiting | None:
        try:
            status = path.stat()
        except OSError:  # removed in the meantime, or not readable
            return None
        state = (status.st_size, status.st_mtime_ns)
        known = self._waiting.get(path)
        if self._failed.get(path) == state:
            return None
        if known is not None and known.state == state:
            return known
        # At the first sight, trust the modification time. After an observed change, the file is new.
        age = max(0.0, time.time() - status.st_mtime) if known is None and path not in self._failed else 0.0
        return _Waiting(state, time.monotonic() - age)


def _is_gone(path: Path) -> bool:
    """Return whether a file was removed; a drive that does not respond for a while has not lost it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
