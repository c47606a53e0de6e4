"""Which image files of a folder are whole: found by looking again and again, with the standard library alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.predict.naming import images_below

_State = tuple[int, int]


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
    """

    def __init__(self, folder: Path, out: Path, *, settle: float, patience: float) -> None:
        self._folder, self._out = folder, out
        self._settle, self._patience = settle, patience
        self._waiting: dict[Path, _Waiting] = {}
        self._done: set[Path] = set()
        self._failed: dict[Path, _State] = {}
        self._look()

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
        """Note a file as done: it is never returned again."""
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
        found = {}
        for path in map(Path, images_below(self._folder, self._out)):
            if path in self._done or path.name.startswith("."):
                continue
            file = self._state_of(path)
            if file is not None:
                found[path] = file
        self._waiting = found

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
