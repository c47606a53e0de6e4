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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool.errors import OutputWriteError
from segtool.files import lock_file, write_error
from segtool.predict.manifest import MANIFEST_NAME, Entry, entry_line, to_line

JOURNAL_NAME = "manifest.jsonl.part"

_OPEN_FLAGS = os.O_CREAT | os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Journal:
    """The journal of one output folder, locked by this process; created by `open_journal`.

    Inputs are named as this process reaches them, and are found again under any name that reaches the same file.

    Attributes
    ----------
    path
        The file.
    descriptor
        The open file, which holds the lock.
    begun
        Whether it contains entries of this run.
    is_over
        Whether the manifest is complete, so that the file can be removed.
    is_damaged
        Whether `values` found a damaged line, as a power failure leaves it: lines are lost, and the outputs of these
        inputs exist.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.begun = self.is_over = self.is_damaged = False
        self._folder = str(Path.cwd())
        self._earlier: dict[str, Entry] = {}  # the last entry of each input of earlier runs, by its absolute path
        self._writing = threading.Lock()

    @property
    def folders(self) -> set[str]:
        """Where earlier runs wrote, relative to the output folder."""
        names = (name for entry in self._earlier.values() for name in entry.outputs.values())
        return {os.path.dirname(name) for name in names}  # noqa: PTH120 (very many strings)

    def values(self) -> Iterator[dict[str, Any]]:
        """Yield the object of each line; an empty one for a line that a kill or a power failure has cut off."""
        with self.path.open("rb") as stream:
            for line in stream:
                value = _parse(line)
                self.is_damaged |= not value and line != b"\n"
                yield value

    def adopt(self, value: Any, folder: str) -> None:
        """Continue from an entry, or from its `to_dict`, of a run whose working folder was `folder`."""
        entry = value if isinstance(value, Entry) else Entry.from_dict(value)
        if entry is not None:
            entry.input = entry.input if folder == self._folder else _joined(folder, entry.input)
            self._earlier[self._key(entry.input)] = entry

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start the part of this run; without adopted entries, remove the records of the run that it replaces."""
        try:
            if not self._earlier:
                self.path.with_name(MANIFEST_NAME).unlink(missing_ok=True)
                os.truncate(self.descriptor, 0)
        except OSError as error:
            raise write_error(self.path, error) from error
        self.begun = True
        ended = b"\n" if self._earlier else b""  # ends a line that a kill has cut off
        self._write(ended + to_line({"header": {**header, "folder": self._folder}}))

    def append(self, entry: Entry) -> bytes:
        """Add the status of an input; return its line, without the line break.

        Raises
        ------
        OutputWriteError
            The operating system refused the write.
        """
        line = entry_line(entry)
        self._write(line)
        return line

    def get(self, name: str) -> Entry | None:
        """Return the last entry of earlier runs for an input of this name; None without one."""
        entry = self._earlier.get(self._key(name))
        return None if entry is None else replace(entry, input=name)

    def others(self, names: Iterable[str]) -> Iterator[Entry]:
        """Yield the entries of earlier runs for inputs that are not in `names`."""
        named = set(map(self._key, names)) if self._earlier else set()
        return (entry for path, entry in self._earlier.items() if path not in named)

    def remove(self) -> None:
        """Remove the file while it is locked, so that no other process resumes from it."""
        if os.name == "nt":  # Windows cannot remove an open file, and there is no lock
            self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _key(self, name: str) -> str:
        return _joined(self._folder, name)

    def _write(self, line: bytes) -> None:
        data = line + b"\n"
        with self._writing:
            try:
                written = os.write(self.descriptor, data)
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
        journal = Journal(path, os.open(path, _OPEN_FLAGS, 0o666))
    except OSError as error:
        raise write_error(path, error) from error
    try:
        _lock(journal)
        try:
            yield journal
        finally:
            if journal.is_over or (made_file and not journal.begun):
                journal.remove()
            if made_folder and not journal.begun:
                with suppress(OSError):
                    out.rmdir()
    finally:
        journal.close()


def _refuse_file(out: Path) -> None:
    """Refuse an output folder that is a file, or that has a file among its parents."""
    found = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(found):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        kind = "a link that does not lead to a folder" if found.is_symlink() else "a file"
        raise OutputWriteError(f"{found} is {kind}, expected a folder for the outputs; choose another --out.")


def _lock(journal: Journal) -> None:
    is_ours = lock_file(journal.descriptor)
    with suppress(FileNotFoundError):
        # The process that held the lock may have ended in between and removed the file that was opened.
        if is_ours and os.path.samestat(os.fstat(journal.descriptor), journal.path.stat()):
            return
    raise OutputWriteError(
        f"Another process is writing predictions into {journal.path.parent}; wait for it, stop it, or choose "
        "another --out."
    )


def _joined(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 (20,000 strings)


def _parse(line: bytes) -> dict[str, Any]:
    """Return the object of a line; an empty one if the line is damaged."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
