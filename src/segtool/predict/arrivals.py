"""Which image files of a folder are whole: found by looking again and again, with the standard library alone.

A look lists the folders only where one has changed since the last time, as its time of change says; else it asks after
the files that are waited for alone. What is kept is the names of the files that are there: those that are gone are
forgotten, so that a watch can go on for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.predict.naming import images_below

_State = tuple[int, int]

LIST_SECONDS = 10.0
"""After so long the folders are listed in any case: some network drives do not keep a folder's time of change."""

_TICK_SECONDS = 2.0
"""How coarse a file system's clock may be: of a change as recent as that, another one may follow unseen."""


@dataclass
class _Waiting:
    """A file that is not known to be whole.

    Attributes
    ----------
    state
        Its size in bytes and its time of change in nanoseconds.
    since
        When it came to that state, on the monotonic clock.
    tried
        Whether it could not be read in that state.
    """

    state: _State
    since: float
    tried: bool = False


class Arrivals:
    """The image files below a folder, but for those of an output folder `out` inside it.

    Parameters
    ----------
    folder, out
        The two folders.
    settle, patience
        Seconds, as in `segtool.predict.watch.WatchOptions`.
    relist
        Seconds, see `LIST_SECONDS`.
    """

    def __init__(
        self, folder: Path, out: Path, *, settle: float, patience: float, relist: float = LIST_SECONDS
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
        """The files that are there, or were at the last look."""
        return {*self._waiting, *self._done, *self._failed}

    @property
    def waiting(self) -> bool:
        """Whether there are files that may become whole."""
        return bool(self._waiting)

    def whole(self) -> list[Path]:
        """Return the files that have become whole since, in alphabetical order.

        Raises
        ------
        DataError
            The folder is not there.
        """
        self._look()
        now = time.monotonic()
        return [path for path, file in self._waiting.items() if now - file.since >= self._needed(file)]

    def settle(self, path: Path) -> None:
        """Note a file as done: it is not returned again while it is there."""
        self._waiting.pop(path, None)
        self._failed.pop(path, None)
        self._done.add(path)

    def try_later(self, path: Path) -> bool:
        """Note that a file could not be read; return whether it will be returned again as it is."""
        file = self._waiting[path]
        if file.tried or time.monotonic() - file.since >= self._patience:
            self.give_up(path)
            return False
        file.tried = True
        return True

    def give_up(self, path: Path) -> None:
        """Note a file as failed: it is returned again when it has changed."""
        self._failed[path] = self._waiting.pop(path).state

    def _needed(self, file: _Waiting) -> float:
        return self._patience if file.tried else self._settle

    def _look(self) -> None:
        if not self._folder.is_dir():
            raise DataError(f"There is no folder {self._folder} to watch; make it first.")
        paths = self._list() if self._is_to_list() else sorted({*self._waiting, *self._failed})
        self._waiting = {path: file for path in paths if (file := self._state_of(path)) is not None}

    def _list(self) -> list[Path]:
        """List the folders; forget the files that are gone, and return those that are not done."""
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
        """Whether there may be other files than at the last listing."""
        now = time.monotonic()
        if now - self._listed >= self._relist or now - self._listed < 0:
            return True
        changes = self._changes(self._folders)
        return 0 in changes.values() or changes != self._folders

    def _changes(self, folders: Iterable[str]) -> dict[str, int]:
        """Return when each folder that is there was last changed, in ns; 0 for one that may change again unseen."""
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
        except OSError:  # gone again, or not ours to see
            return None
        state = (status.st_size, status.st_mtime_ns)
        known = self._waiting.get(path)
        if self._failed.get(path) == state:
            return None
        if known is not None and known.state == state:
            return known
        # Seen for the first time: as old as it says. Seen to change: new, whatever its clock says.
        age = max(0.0, time.time() - status.st_mtime) if known is None and path not in self._failed else 0.0
        return _Waiting(state, time.monotonic() - age)


def _is_gone(path: Path) -> bool:
    """Tell whether a file is not there; a drive that does not answer for a while has not lost it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
