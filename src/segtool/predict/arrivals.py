"""Find the complete image files of a folder by polling, with the standard library alone.

Each poll lists the folders. Names of removed files are forgotten, so that a watch can run without end.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segtool.errors import DataError
from segtool.predict.finding import images_below
from segtool.predict.manifest import Entry

SETTLE_SECONDS = 1.0
"""Time without a change of size and modification time before a file is read."""

PATIENCE_SECONDS = 10.0
"""Time without a change before a file that cannot be decoded counts as failed; until then it may be incomplete."""

State = tuple[int, int]
Status = Literal["waiting", "done", "failed"]


@dataclass(eq=False)
class Arrival:
    """An image file below the watched folder, from the poll that finds it to the poll that misses it.

    Attributes
    ----------
    path
        The file.
    state
        Its size in bytes and its modification time in nanoseconds.
    since
        When it reached that state, on the monotonic clock.
    status
        "waiting": it may still be incomplete. "done": it is not read again. "failed": it is read again after a change.
    tried
        Whether a read of it failed in this state.
    failure
        Its last failure while it is waiting; the watch sets it.
    """

    path: Path
    state: State
    since: float
    status: Status = "waiting"
    tried: bool = False
    failure: Entry | None = None

    def changed(self, state: State) -> None:
        """Wait for the end of a change."""
        self.state, self.since, self.status, self.tried = state, time.monotonic(), "waiting", False


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
        self._files: dict[str, Arrival] = {}  # by names: a poll that makes paths of very many is slow
        self.poll()

    @property
    def waiting(self) -> list[Arrival]:
        """The files that may become complete."""
        return [file for file in self._files.values() if file.status == "waiting"]

    def poll(self) -> tuple[list[Arrival], list[Arrival]]:
        """Return the files that are complete, in alphabetical order, and the files that were removed.

        Raises
        ------
        DataError
            The folder does not exist.
        """
        if not self._folder.is_dir():
            raise DataError(f"The folder {self._folder} to watch does not exist; create it first.")
        found = list(images_below(self._folder, self._out))
        missing = self._files.keys() - set(found)
        complete = []
        for name in found:
            known = self._files.get(name)
            if known is not None and known.status == "done":
                continue
            file = self._looked_at(name)
            if file is None:
                missing.add(name)
            elif file.status == "waiting" and time.monotonic() - file.since >= self._needed(file):
                complete.append(file)
        return complete, [file for name in missing if (file := self._removed(name)) is not None]

    def try_later(self, file: Arrival) -> bool:
        """Record that a file could not be read; return whether it will be returned again without a change."""
        if file.tried or time.monotonic() - file.since >= self._patience:
            file.status = "failed"
            return False
        file.tried = True
        return True

    def _needed(self, file: Arrival) -> float:
        return self._patience if file.tried else self._settle

    def _looked_at(self, name: str) -> Arrival | None:
        """Return a file in its present state; None if it was removed in the meantime, or is not readable."""
        try:
            status = os.stat(name)  # noqa: PTH116 (very many strings)
        except OSError:
            return None
        state, file = (status.st_size, status.st_mtime_ns), self._files.get(name)
        if file is None:
            # At the first sight, trust the modification time.
            age = max(0.0, time.time() - status.st_mtime)
            file = self._files[name] = Arrival(Path(name), state, time.monotonic() - age)
        elif file.state != state:
            file.changed(state)
        return file

    def _removed(self, name: str) -> Arrival | None:
        """Forget a file that is no longer found and return it; keep it if only its drive does not respond."""
        file = self._files.get(name)
        if file is None or (file.status != "waiting" and not _is_gone(file.path)):
            return None
        return self._files.pop(name)


def _is_gone(path: Path) -> bool:
    """Return whether a file was removed; a drive that does not respond for a while has not lost it."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
