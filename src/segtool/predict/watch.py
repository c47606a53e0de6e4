"""Predict images as they arrive in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from segtool.errors import DataError, SegtoolError
from segtool.predict.arrivals import Arrival, Arrivals
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
    created again, its outputs are replaced. Files whose names begin with a dot are ignored, because other programs may
    still be writing them. Everything else is as in `segtool.predict.predict.predict_paths`.

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
        self._jobs: dict[Path, Job] = {}  # those of removed files too: created again, a file keeps its name

    def go_on(self, idle: float | None) -> None:
        last = time.monotonic()
        while not self._run.stop():
            began = time.monotonic()
            complete, removed = self._arrivals.poll()
            took = time.monotonic() - began
            self._fail_postponed(removed)
            if complete:
                self._predict(complete)
                last = time.monotonic()
            elif idle is not None and not self._arrivals.waiting and time.monotonic() - last >= idle:
                break
            else:
                time.sleep(max(POLL_SECONDS, 10 * took))
        self._fail_postponed(self._arrivals.waiting)

    def _fail_postponed(self, files: Iterable[Arrival]) -> None:
        """Record the failures of files that do not become complete."""
        for file in files:
            if file.failure is not None:
                self._run.fail(file.failure, self._jobs[file.path])

    def _predict(self, files: list[Arrival]) -> None:
        for file in files:
            if file.path in self._jobs:  # it failed and has changed, or it was removed and created again
                self._run.renew(self._jobs[file.path])
        new = [Source(str(file.path), str(file.path.parent)) for file in files if file.path not in self._jobs]
        self._jobs |= {job.source.path: job for job in self._run.plan(new, self._namer)}
        jobs = {file.path: (file, self._jobs[file.path]) for file in files}

        def put_off(job: Job, entry: Entry) -> bool:
            """Postpone a failure if the file may still be incomplete."""
            file, _ = jobs[job.source.path]
            file.failure = entry
            return self._arrivals.try_later(file)

        allowed = [job for file, job in jobs.values() if self._is_allowed(file, job)]
        self._run.work_through(allowed, put_off=put_off)
        for file, job in jobs.values():
            if job.entry.status in ("done", "skipped"):
                file.status = "done"
            if job.entry.status != "not run":
                file.failure = None

    def _is_allowed(self, file: Arrival, job: Job) -> bool:
        """Return whether the outputs of a file may be written; if not, the file has failed."""
        try:
            self._run.refuse_outputs([job])
        except SegtoolError as error:
            self._run.fail(Entry(job.source.name, error=str(error)), job)
            file.status = "failed"
            return False
        return True
