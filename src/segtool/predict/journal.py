"""The journal of a prediction: what became of each input so far, kept so that a killed run can be resumed.

``manifest.jsonl.part`` lies beside the manifest as long as a run is not complete. Each line is JSON: a header where a
run began, then an entry when the outputs of an input are about to be written (status "writing") and one when they are
there; the last one of an input counts. A line is handed to the system at once, which a kill -9 of the process cannot
take back. It is not synced to the disk: where the power fails, outputs whose lines are lost are those of nobody, and
are replaced with --overwrite alone. Nothing is ever rewritten and no entry is kept in memory, but for where those of
earlier runs begin, so that the cost of an image does not grow with their number.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, BinaryIO

from segtool.errors import OutputWriteError
from segtool.files import write_error
from segtool.predict.line_index import LineIndex
from segtool.predict.manifest import Entry, to_line
from segtool.predict.spool import no_temporary_file, temporary_file

JOURNAL_NAME = "manifest.jsonl.part"

_OPEN_FLAGS = os.O_CREAT | os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Journal:
    """The journal of one output folder, held by this process; made by `open_journal`.

    Inputs are named as this process would reach them, and are found again under any name that reaches the same file.

    Attributes
    ----------
    path
        The file.
    descriptor
        The open file; the lock is on it.
    folders
        Where earlier runs wrote, relative to the output folder.
    is_over
        Whether the manifest has everything, so that the file can go.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.folders: set[str] = set()
        self.is_over = False
        self.descriptor = descriptor
        self._folder = str(Path.cwd())
        self._earlier = LineIndex()
        self._begun_in: list[tuple[int, str]] = []  # where the runs of the file begin, and the folders they ran in
        self._seeds: IO[bytes] | None = None  # where the lines of an adopted manifest are until the run begins
        self._end = 0
        self._reader: BinaryIO | None = None
        self._writing = threading.Lock()

    @property
    def has_earlier(self) -> bool:
        """Whether it has anything of earlier runs."""
        return len(self._earlier) > 0

    @property
    def begun(self) -> bool:
        """Whether anything of this run is in it."""
        return self._reader is not None

    def load(self) -> dict[str, Any] | None:
        """Index what earlier runs wrote; return the header of the first, or None where there is none.

        A line that a kill cut off is left out, and is overwritten by `begin`.
        """
        header, folder = None, self._folder
        with self.path.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                value = _parse(line)
                if isinstance(begun := value.get("header"), dict):
                    header = header or begun
                    folder = begun.get("folder", folder)
                    self._begun_in.append((self._end, folder))
                else:
                    self._index(value, folder)
                self._end += len(line)
        if header is None or len(self._earlier) < header.get("seeds", 0):
            # Cut off before the run began: what it was to start from is still in the manifest.
            self.drop()
            return None
        return dict(header)

    def adopt(self, entries: Iterable[Entry], folder: str) -> None:
        """Take over the entries of a manifest; `folder` is where the run that wrote it was started."""
        end = 0
        try:
            self._seeds = temporary_file()
            for entry in entries:
                entry.input = entry.input if folder == self._folder else _joined(folder, entry.input)
                self._add(entry, self._folder, end)
                end += self._seeds.write(to_line(entry.to_dict()) + b"\n")
            self._seeds.flush()
        except OSError as error:
            raise no_temporary_file(error) from error

    def drop(self) -> None:
        """Let go of what was loaded or adopted: nothing is taken up."""
        self._earlier, self._begun_in, self._end = LineIndex(), [], 0

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start the run's own part, after what was loaded or adopted; what else was in the file is gone."""
        try:
            os.truncate(self.descriptor, self._end)
            self._reader = self.path.open("rb")
        except OSError as error:
            raise write_error(self.path, error) from error
        count = 0 if self._seeds is None else len(self._earlier)
        self._begun_in.append((self._end, self._folder))
        self._write({"header": {**header, "folder": self._folder, "seeds": count}})
        if self._seeds is not None:
            self._copy_seeds(self._seeds)

    def append(self, entry: Entry) -> int:
        """Add what became of an input; return where its line begins.

        Raises
        ------
        OutputWriteError
            The operating system refused.
        """
        return self._write(entry.to_dict())

    def get(self, name: str) -> Entry | None:
        """Return the last entry that earlier runs have of an input under this name; None where there is none."""
        if not self.has_earlier:
            return None
        offset = self._earlier.find(self._key(name))
        entry = None if offset is None else self._entry(offset)
        return None if entry is None else replace(entry, input=name)

    def line(self, offset: int) -> bytes:
        """Return a line that `append` wrote, as it stands in the file."""
        return self._line(offset).rstrip(b"\n")

    def others(self, names: Iterable[str]) -> Iterator[Entry]:
        """Yield the entries of earlier runs of inputs that are not among `names`."""
        if not self.has_earlier:
            return
        for offset in self._earlier.others(map(self._key, names)):
            entry = self._entry(offset)
            if entry is not None:
                name = _joined(self._folder_at(offset), entry.input)
                yield entry if self._key(entry.input) == name else replace(entry, input=name)

    def remove(self) -> None:
        """Remove the file, before it is let go, so that nobody takes up what is about to vanish."""
        if os.name == "nt":  # which removes no open file, and has no lock to keep
            self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        for stream in (self._reader, self._seeds):
            if stream is not None:
                stream.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _entry(self, offset: int) -> Entry | None:
        return Entry.from_dict(_parse(self._line(offset)))

    def _line(self, offset: int) -> bytes:
        stream = self._seeds or self._reader
        with self.path.open("rb") if stream is None else nullcontext(stream) as lines:
            lines.seek(offset)
            return lines.readline()

    def _folder_at(self, offset: int) -> str:
        """Return the folder that the inputs of a line of earlier runs are named from."""
        if self._seeds is not None:
            return self._folder
        return next((folder for begin, folder in reversed(self._begun_in) if begin < offset), self._folder)

    def _copy_seeds(self, seeds: IO[bytes]) -> None:
        """Append the lines of an adopted manifest, one by one."""
        for number, offset in enumerate(self._earlier.offsets):
            seeds.seek(offset)
            self._earlier.offsets[number] = self._append(seeds.readline())
        seeds.close()
        self._seeds = None

    def _index(self, value: Mapping[str, Any], folder: str) -> None:
        entry = Entry.from_dict(value)
        if entry is not None:
            self._add(entry, folder, self._end)

    def _add(self, entry: Entry, folder: str, offset: int) -> None:
        self._earlier.add(_joined(folder, entry.input), offset)
        self._note_folders(entry.outputs)

    def _note_folders(self, outputs: Mapping[str, str]) -> None:
        self.folders.update(os.path.dirname(name) for name in outputs.values())  # noqa: PTH120 (strings, not Paths)

    def _key(self, name: str) -> str:
        return _joined(self._folder, name)

    def _write(self, value: Mapping[str, Any]) -> int:
        """Append a value; return where its line begins."""
        return self._append(to_line(value) + b"\n")

    def _append(self, line: bytes) -> int:
        with self._writing:
            offset = self._end
            try:
                written = os.write(self.descriptor, line)
            except OSError as error:
                raise write_error(self.path, error) from error
            if written != len(line):
                raise write_error(self.path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            self._end += written
        return offset


@contextmanager
def open_journal(out: Path) -> Iterator[Journal]:
    """Open the journal of an output folder and hold it; the system lets go of it even after a kill -9.

    A journal that is new and was not begun is removed again.

    Raises
    ------
    OutputWriteError
        It cannot be made, or another process holds it.
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
    """Refuse an output folder that is a file, or would be below one."""
    found = next(path for path in (out, *out.absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(found):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        kind = "a link that leads to no folder" if found.is_symlink() else "a file"
        raise OutputWriteError(f"The outputs go into a folder, and {found} is {kind}; choose another --out.")


def _lock(journal: Journal) -> None:
    try:
        import fcntl
    except ImportError:  # no such lock on Windows; two runs in one folder are then not noticed
        return
    try:
        fcntl.flock(journal.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have ended between the two, and have removed the file that was opened.
        is_there = os.path.samestat(os.fstat(journal.descriptor), journal.path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_there = False
    except OSError:  # a file system without locks
        return
    if not is_there:
        raise OutputWriteError(
            f"Another process is writing predictions into {journal.path.parent}; wait for it, stop it, or choose "
            "another --out."
        )


def _joined(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 (20,000 strings, not 20,000 Paths)


def _parse(line: bytes) -> dict[str, Any]:
    """Return a line's object; an empty one where it is damaged."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
