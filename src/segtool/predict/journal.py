"""The journal of a prediction: the status of each input so far, kept so that a killed run can be resumed.

``manifest.jsonl.part`` lies beside the manifest until a run is complete. Each line is JSON. A run begins with a header.
Each input gets an entry before its outputs are written (status "writing") and one afterwards. The last line of an
input counts. Lines are appended and never rewritten. A line is handed to the operating system at once, so a kill -9 of
the process does not lose it. It is not synced to the disk: a power failure can cut it off. A run that resumes from
such a journal replaces the outputs whose lines are lost.

A resumed run continues from the manifest of the run before it, and from the journal.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from segtool.errors import OutputWriteError
from segtool.files import lock_file, write_error
from segtool.predict.manifest import MANIFEST_NAME, Entry, to_line

JOURNAL_NAME = "manifest.jsonl.part"


class Journal:
    """The journal of one output folder, locked by this process; created by `open_journal`.

    `begun` says whether it contains entries of this run, and `is_damaged` whether `lines` found a damaged line, as a
    power failure leaves it: lines are lost, and the outputs of these inputs exist.
    """

    def __init__(self, path: Path, stream: FileIO) -> None:
        self.path = path
        self.begun = self.is_damaged = False
        self._stream = stream
        self._writing = threading.Lock()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the object of each line; an empty one for a line that a kill or a power failure has cut off."""
        with self.path.open("rb") as stream:
            for line in stream:
                value = _parse(line)
                self.is_damaged |= not value and line != b"\n"
                yield value

    def begin(self, header: Mapping[str, Any], *, continues: bool) -> None:
        """Start the part of this run; unless it continues others, remove their records first."""
        try:
            if not continues:
                self.path.with_name(MANIFEST_NAME).unlink(missing_ok=True)
                self._stream.truncate(0)
        except OSError as error:
            raise write_error(self.path, error) from error
        self.begun = True
        ended = b"\n" if continues else b""  # ends a line that a kill has cut off
        self._write(ended + to_line({"header": dict(header)}))

    def append(self, entry: Entry) -> None:
        """Add the status of an input.

        Raises
        ------
        OutputWriteError
            The operating system refused the write.
        """
        self._write(to_line(entry.to_dict()))

    def remove(self) -> None:
        """Remove the file while it is locked, so that no other process resumes from it."""
        if os.name == "nt":  # Windows cannot remove an open file, and there is no lock
            self._stream.close()
        self.path.unlink(missing_ok=True)

    def _write(self, line: bytes) -> None:
        data = line + b"\n"
        with self._writing:
            try:
                written = self._stream.write(data)
            except OSError as error:
                raise write_error(self.path, error) from error
            if written != len(data):
                raise write_error(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


@contextmanager
def open_journal(out: Path) -> Iterator[Journal]:
    """Open the journal of an output folder and lock it; the lock ends with the process, also after a kill -9.

    A new journal that was not begun is removed again.

    Raises
    ------
    OutputWriteError
        It cannot be created, or another process holds the lock.
    """
    path = out / JOURNAL_NAME
    _refuse_file(out)
    made_folder, made_file = not out.exists(), not path.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab", buffering=0)  # a line is written by one call, at the end
    except OSError as error:
        raise write_error(path, error) from error
    with stream:
        _lock(path, stream)
        journal = Journal(path, stream)
        try:
            yield journal
        finally:
            if made_file and not journal.begun:
                journal.remove()
            if made_folder and not journal.begun:
                with suppress(OSError):
                    out.rmdir()


def _refuse_file(out: Path) -> None:
    """Refuse an output folder that is a file, or that has a file among its parents."""
    found = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(found):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        kind = "a link that does not lead to a folder" if found.is_symlink() else "a file"
        raise OutputWriteError(f"{found} is {kind}, expected a folder for the outputs; choose another --out.")


def _lock(path: Path, stream: FileIO) -> None:
    is_ours = lock_file(stream.fileno())
    with suppress(FileNotFoundError):
        # The process that held the lock may have ended in between and removed the file that was opened.
        if is_ours and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return
    raise OutputWriteError(
        f"Another process is writing predictions into {path.parent}; wait for it, stop it, or choose another --out."
    )


def _parse(line: bytes) -> dict[str, Any]:
    """Return the object of a line; an empty one if the line is damaged."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
