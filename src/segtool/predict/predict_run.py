"""One run into one output folder: its plan, the status of each input, the journal and the manifest."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import Any

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import remove_unfinished
from segtool.images.pixels import range_used, sensor_bits
from segtool.predict.jobs import Job, JobWorker, Stop, groups_of
from segtool.predict.journal import Journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest, Status, entry_line, write_manifest
from segtool.predict.naming import SUFFIXES, Namer
from segtool.predict.outputs import output_names, stem_of
from segtool.predict.predict_options import PredictOptions
from segtool.predict.resume import is_done
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source
from segtool.runtime.stream import ordered_map, worker_count
from segtool.text import counted

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


class PredictRun:
    """One run into one output folder; leaving the context writes the manifest, also after an error.

    Parameters
    ----------
    segmenter, options, journal
        The model, the options of the outputs, and the journal, which is locked and loaded.
    stop
        Called before each image; once it returns true, no image is started.
    progress
        Called with (processed inputs, all inputs) after each input.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        options: PredictOptions,
        journal: Journal,
        *,
        stop: Stop = lambda: False,
        progress: Progress | None = None,
    ) -> None:
        self.manifest = Manifest(options.out / MANIFEST_NAME)
        self.stop = stop
        self._segmenter = segmenter
        self._options = options
        self._replaced = tuple(SUFFIXES) if options.overwrite else options.kinds  # the kinds of an earlier run
        self._journal = journal
        self._progress = progress
        self.header: dict[str, Any] = {}
        self._began = 0.0
        self._jobs: list[Job] = []  # in the order of the manifest
        self._counts: Counter[Status] = Counter()
        self._wide = WideImages()
        self._warned = False  # that of a file with several images only the first is predicted

    def plan(self, sources: Sequence[Source], namer: Namer) -> list[Job]:
        """Return the images to predict; images that are done in the journal count as skipped."""
        entries = [self._journal.get(source.name) for source in sources]
        kept = [None if entry is None else stem_of(entry.outputs) for entry in entries]
        planned = []
        for source, entry, old, stem in zip(sources, entries, kept, namer.stems(sources, kept), strict=True):
            job = self.add(Job(source.name, source, stem, is_known=old is not None))
            if entry is not None and old is not None and is_done(entry, source, self._options.out):
                self._set(job, "skipped", entry_line(replace(entry, status="skipped")))
            else:
                planned.append(job)
        return planned

    def refuse_outputs(self, jobs: Iterable[Job], inputs: Iterable[Source]) -> None:
        """Refuse outputs that are also inputs, and existing outputs that must not be replaced.

        Raises
        ------
        DataError, OutputExistsError
            There is such an output.
        """
        taken: set[str] | None = None
        folder = os.fspath(self._options.out)
        for job in jobs:
            for name in output_names(job.stem, self._replaced).values():
                target = os.path.join(folder, name)  # noqa: PTH118 (very many strings)
                if not os.path.lexists(target):
                    continue
                taken = taken or {os.path.realpath(source.file) for source in inputs}
                if os.path.realpath(target) in taken:
                    raise DataError(f"The output {target} would replace an input; choose another folder with --out.")
                if not (job.is_known or self._journal.is_damaged or self._options.overwrite):
                    raise OutputExistsError(
                        f"{target} already exists and was not changed; pass --overwrite to replace it, or choose "
                        "another --out."
                    )

    def begin(self, header: Mapping[str, Any]) -> None:
        """Start the run: begin the journal, and remove unfinished files of killed runs."""
        self.header, self._began = dict(header), time.perf_counter()
        self._journal.begin(header)
        folders = {"", *self._journal.folders, *(os.path.dirname(job.stem) for job in self._jobs)}  # noqa: PTH120 (strings)
        remove_unfinished(self._options.out / name for name in folders)

    def work_through(self, jobs: Sequence[Job], *, put_off: Callable[[Job, Entry], bool] | None = None) -> None:
        """Predict images and write their outputs.

        `put_off` is called for each failure; if it returns true, the image stays "not run".

        Raises
        ------
        OutputWriteError
            An output could not be written.
        """
        count = worker_count(self._options.workers)
        work = JobWorker(self._segmenter, self._options, expect=self.expect, stop=self.stop)
        groups = groups_of(jobs, workers=count)
        results = ordered_map(work, groups, workers=count, ahead=count, stop=self.stop)
        with closing(results):  # stops the threads at once if an output cannot be written
            for job, entry in chain.from_iterable(results):
                if entry.status == "done" or put_off is None or not put_off(job, entry):
                    self.record(job, entry)

    def add(self, job: Job) -> Job:
        """Add an input to the run, in the order of the manifest."""
        self._jobs.append(job)
        self._counts[job.status] += 1
        return job

    def expect(self, job: Job) -> None:
        """Record that the outputs of an image may exist from now on: after a kill, they belong to this run."""
        self._journal.append(Entry(job.name, "writing", output_names(job.stem, self._options.kinds)))

    def record(self, job: Job, entry: Entry) -> None:
        """Record the result of an image, which is "done" or a failure."""
        if entry.status == "done":
            self._note(job, entry)
            self._remove_outputs(job, [kind for kind in self._replaced if kind not in entry.outputs])
        else:
            if job.is_known or self._options.overwrite:
                with suppress(OSError):  # an image that is out of reach keeps its outputs
                    job.source.path.stat()
                    self._remove_outputs(job, self._replaced)
            self.fail(entry, job)
        if self._progress is not None:
            self._progress(len(self._jobs) - self._counts["not run"], len(self._jobs))

    def _remove_outputs(self, job: Job, kinds: Iterable[str]) -> None:
        """Remove what an earlier run wrote for an image and this one does not."""
        for name in output_names(job.stem, kinds).values():
            with suppress(OSError):
                (self._options.out / name).unlink(missing_ok=True)

    def fail(self, entry: Entry, job: Job | None = None) -> None:
        """Record an image, or an argument that matches none, as failed, and log the reason."""
        job = job or self.add(Job(entry.input, Source(entry.input, "")))
        self._set(job, "failed", self._journal.append(replace(entry, status="failed", outputs={})))
        logger.error("%s", entry.error)

    def __enter__(self) -> PredictRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write_manifest(interrupted=self._counts["not run"] > 0)
        elif self._journal.begun:
            # Report the error that stopped the run, not the failed write of the manifest after it.
            with suppress(OutputWriteError):
                self._write_manifest(interrupted=True)

    def _note(self, job: Job, entry: Entry) -> None:
        self._set(job, "done", self._journal.append(entry))
        self._wide.add(entry)
        if entry.note and not self._warned:
            self._warned = True
            logger.warning("%s: %s is predicted; manifest.json notes each such file.", entry.input, entry.note)

    def _write_manifest(self, *, interrupted: bool) -> None:
        count, others = self._counts, self._others()
        self.manifest.done, self.manifest.failed = count["done"], count["failed"]
        self.manifest.not_run = count["not run"]
        self.manifest.skipped = count["skipped"] + len(others)
        self.manifest.interrupted = interrupted
        seconds = round(time.perf_counter() - self._began, 3)
        lines = (job.line or entry_line(Entry(job.name)) for job in self._jobs)
        write_manifest(self.manifest, {**self.header, "seconds": seconds}, chain(lines, others))
        self._wide.warn()
        self._journal.is_over = not interrupted

    def _others(self) -> list[bytes]:
        """Return the entries of earlier runs for inputs that are not in this run and whose outputs were kept."""
        written = {job.stem + SUFFIXES["labels"] for job in self._jobs if job.status == "done"}
        return [
            entry_line(replace(entry, status="skipped"))
            for entry in self._journal.others(job.name for job in self._jobs)
            if entry.status in ("done", "skipped") and entry.outputs.get("labels") not in written
        ]

    def _set(self, job: Job, status: Status, line: bytes) -> None:
        self._counts[job.status] -= 1
        self._counts[status] += 1
        job.status, job.line = status, line


class WideImages:
    """The 16-bit images of a run: their number, and the largest value in any of them."""

    def __init__(self) -> None:
        self._count = self._largest = 0

    def add(self, entry: Entry) -> None:
        """Count an image, if it has 16 bits."""
        if entry.largest_value is not None:
            self._count += 1
            self._largest = max(self._largest, entry.largest_value)

    def warn(self) -> None:
        """Warn if all of them use a small part of the range, as `data check` does."""
        bits = sensor_bits(self._largest)
        if self._count and bits is not None:
            logger.warning(
                "%s of 16 bits %s %s of the range: the largest value is %d, as in data of %d bits, so the model saw %d "
                "of 256 levels. This is right only if it was trained on such files; otherwise scale them to 0..65535. "
                "`segtool data check` on a folder with images and masks prints the command.",
                counted(self._count, "image"),
                "uses" if self._count == 1 else "use",
                range_used(bits),
                self._largest,
                bits,
                self._largest // 257 + 1,
            )
