"""Predict images as they arrive in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from segtool.errors import DataError, SegtoolError
from segtool.predict.arrivals import Arrivals
from segtool.predict.jobs import Job, Stop
from segtool.predict.manifest import Entry, Manifest
from segtool.predict.naming import Namer
from segtool.predict.outputs import stem_of
from segtool.predict.predict_options import PredictOptions
from segtool.predict.predict_run import PredictRun, Progress, open_run
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source

POLL_SECONDS = 0.25
"""Least time between two polls of the folder; with very many files it is ten times that of a poll."""


def watch_folder(
    segmenter: Segmenter,
    folder: Path,
    *,
    options: PredictOptions,
    idle: float | None = None,
    progress: Progress | None = None,
    stop: Stop = lambda: False,
) -> Manifest:
    """Predict the images in a folder and those that arrive in it, each once, until `stop` returns true.

    `Arrivals` decides when a file is complete. A file that was moved in with an old modification time is predicted at
    once. A failed file is predicted again after a change. A done file is not, while it exists; if it is removed and
    created again, it is a new file. Files whose names begin with a dot are ignored, because other programs may still
    be writing them. Everything else is as in `segtool.predict.predict.predict_paths`.

    Parameters
    ----------
    segmenter, options, progress, stop
        As in `predict_paths`.
    folder
        The folder to watch.
    idle
        Stop after this time without a new image, in seconds; None to continue until stopped.

    Raises
    ------
    SegtoolError
        As in `predict_paths`; or the folder does not exist (any more), or is the output folder.
    """
    if os.path.realpath(folder) == os.path.realpath(options.out):
        raise DataError(f"The output folder is the watched folder {folder}; choose another folder with --out.")
    arrivals = Arrivals(folder, options.out)
    with open_run(segmenter, options, stop=stop, progress=progress) as run:
        namer = Namer([str(folder)])
        for stem in (stem_of(entry.outputs) for entry in run.earlier.values()):
            if stem is not None:
                namer.reserve(stem)
        run.begin()
        _Watch(run, arrivals, namer).go_on(idle)
    return run.manifest


class _Watch:
    """The loop of a watch: poll, predict the complete files, wait."""

    def __init__(self, run: PredictRun, arrivals: Arrivals, namer: Namer) -> None:
        self._run = run
        self._arrivals = arrivals
        self._namer = namer
        self._jobs: dict[Path, Job] = {}
        self._put_off: dict[Path, Entry] = {}

    def go_on(self, idle: float | None) -> None:
        last = time.monotonic()
        while not self._run.stop():
            began = time.monotonic()
            paths = self._arrivals.whole()
            took = time.monotonic() - began
            self._forget()
            if paths:
                self._predict(paths)
                last = time.monotonic()
            elif idle is not None and not self._arrivals.waiting and time.monotonic() - last >= idle:
                break
            else:
                time.sleep(max(POLL_SECONDS, 10 * took))
        for path, entry in self._put_off.items():
            self._run.fail(entry, self._jobs[path])

    def _forget(self) -> None:
        """Drop the state of removed files; postponed files have failed."""
        for path in self._jobs.keys() - self._arrivals.known if self._jobs else ():
            job = self._jobs.pop(path)
            if (entry := self._put_off.pop(path, None)) is not None:
                self._run.fail(entry, job)

    def _predict(self, paths: list[Path]) -> None:
        new = [Source(str(path), str(path.parent)) for path in paths if path not in self._jobs]
        self._jobs |= {job.source.path: job for job in self._run.plan(new, self._namer)}
        self._run.work_through(list(self._allowed(paths)), put_off=self._keep_waiting)
        for path in paths:
            job = self._jobs.get(path)
            status = "skipped" if job is None else job.entry.status
            if status in ("done", "skipped"):
                self._arrivals.settle(path)
                self._jobs.pop(path, None)
            if status != "not run":
                self._put_off.pop(path, None)

    def _allowed(self, paths: list[Path]) -> Iterator[Job]:
        """Yield the jobs of these files; files whose outputs must not be written are failed instead."""
        for job in (self._jobs[path] for path in paths if path in self._jobs):
            try:
                self._run.refuse_outputs([job])
            except SegtoolError as error:
                self._run.fail(Entry(job.source.name, error=str(error)), job)
                self._arrivals.give_up(job.source.path)
            else:
                yield job

    def _keep_waiting(self, job: Job, entry: Entry) -> bool:
        """Postpone a failure if the file may still be incomplete."""
        path = job.source.path
        self._put_off[path] = entry
        return self._arrivals.try_later(path)
