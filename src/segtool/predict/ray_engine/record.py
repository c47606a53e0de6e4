"""What is recorded of one run on a cluster: in its folder's journal as it comes, in the manifest at the end."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from segtool import errors
from segtool.errors import OutputWriteError
from segtool.predict.journal import Journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest, read_manifest, write_manifest
from segtool.predict.ray_engine.outputs import OutputFolder

logger = logging.getLogger(__name__)

_ERRORS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}


class Record:
    """The record of one run; leaving it writes the manifest, however it is left.

    Parameters
    ----------
    folder
        Where the manifest goes.
    header
        What the manifest says of the run.
    journal
        Of the folder, held; None at a URL.
    progress
        Called with (inputs dealt with, inputs in all) after each batch.

    Attributes
    ----------
    manifest
        What is in the manifest's file, once it is written.
    """

    def __init__(
        self,
        folder: OutputFolder,
        header: Mapping[str, Any],
        journal: Journal | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.manifest: dict[str, Any] = {}
        self._folder = folder
        self._header = header
        self._journal = journal
        self._progress = progress
        self._began = time.perf_counter()
        self._entries: list[Entry] = []
        self._counts: Counter[str] = Counter()
        self._nodes: Counter[str] = Counter()
        self._reports: dict[str, dict[str, Any]] = {}

    @property
    def is_local(self) -> bool:
        """Whether outputs go to a folder and not to a URL."""
        return self._journal is not None

    def begin(self, planned: Sequence[Entry]) -> None:
        """Start with what is planned: in the journal with its outputs, which may be there from now on."""
        self._entries += [Entry(entry.input) for entry in planned]
        self._counts["not run"] += len(planned)
        if self._journal is not None:
            self._journal.begin(self._header)
            for entry in planned:
                self._journal.append(entry)

    def add(self, entry: Entry) -> None:
        """Note an entry that was not planned."""
        self._entries.append(Entry(entry.input))
        self._counts["not run"] += 1
        self._set(len(self._entries) - 1, entry)

    def follow(self, results: Any) -> None:
        """Note what becomes of each planned input as a dataset of Ray is worked out.

        Raises
        ------
        SegtoolError
            What stopped an actor.
        """
        batches = iter(results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))
        with closing(batches):  # ends the actors at once, before the connection to the cluster is closed
            for batch in batches:
                self._note(batch)
                for kind, message in zip(batch["kind"], batch["error"], strict=True):
                    if kind:
                        raise _ERRORS[kind](message)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._write(interrupted=self._counts["not run"] > 0)
            return
        # What stopped the run is the error to report, not that the manifest could not be written after it.
        with suppress(OutputWriteError):
            self._write(interrupted=True)

    def _note(self, batch: Mapping[str, Iterable[Any]]) -> None:
        for index, text, node in zip(batch["index"], batch["entry"], batch["node"], strict=True):
            entry = Entry.from_dict(json.loads(text)) if text else None
            if entry is not None:
                self._set(int(index), entry)
                self._nodes[str(node)] += 1
        for report in filter(None, map(str, batch["provider"])):
            found = json.loads(report)
            self._reports.setdefault(found["provider"], found)
        if self._progress is not None:
            self._progress(len(self._entries) - self._counts["not run"], len(self._entries))

    def _set(self, index: int, entry: Entry) -> None:
        self._counts[self._entries[index].status] -= 1
        self._counts[entry.status] += 1
        self._entries[index] = entry
        if self._journal is not None:
            self._journal.append(entry)
        if entry.status == "failed":
            logger.error("%s", entry.error)

    def _write(self, *, interrupted: bool) -> None:
        manifest = Manifest(Path(MANIFEST_NAME), interrupted=interrupted)
        manifest.done, manifest.failed = self._counts["done"], self._counts["failed"]
        manifest.not_run = self._counts["not run"]
        header = {
            **self._header,
            **next(iter(self._reports.values()), {}),
            "provider": ", ".join(sorted(self._reports)),
            "nodes": dict(self._nodes),
            "seconds": round(time.perf_counter() - self._began, 3),
        }

        def write(folder: Path) -> None:
            manifest.path = folder / MANIFEST_NAME
            write_manifest(manifest, header, self._entries)
            self.manifest = read_manifest(manifest.path)

        self._folder.write([MANIFEST_NAME], write)
        if self._journal is not None:
            self._journal.is_over = not interrupted
