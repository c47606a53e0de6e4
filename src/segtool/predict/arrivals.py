"""Find the complete image files of a folder by polling, with the standard library alone.

Each poll lists the folders. Names of removed files are forgotten, so that a watch can run without end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.predict.finding import images_below

_State = tuple[int, int]

SETTLE_SECONDS = 1.0
"""Time without a change of size and modification time before a file is read."""

PATIENCE_SECONDS = 10.0
"""Time without a change before a file that cannot be decoded counts as failed; until then it may be incomplete."""


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
    settle, patience
        Seconds, see `SETTLE_SECONDS` and `PATIENCE_SECONDS`.
    """

    def __init__(
        self, folder: Path, out: Path, *, settle: float = SETTLE_SECONDS, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._folder, self._out = folder, out
        self._settle, self._patience = settle, patience
        self._waiting: dict[Path, _Waiting] = {}
        self._done: set[str] = set()  # names of very many files, of which each poll would make paths
        self._failed: dict[Path, _State] = {}
        self._look()

    @property
    def known(self) -> set[Path]:
        """The files that exist, or existed at the last poll."""
        return {*self._waiting, *map(Path, self._done), *self._failed}

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
        self._done.add(str(path))

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
        found = list(images_below(self._folder, self._out))
        for name in {*self._done, *map(str, self._failed)}.difference(found):
            if _is_gone(Path(name)):
                self._done.discard(name)
                self._failed.pop(Path(name), None)
        left = (Path(name) for name in found if name not in self._done)
        states = {path: self._state_of(path) for path in left}
        self._waiting = {path: file for path, file in states.items() if file is not None}

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
