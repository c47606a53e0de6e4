"""One run into one output folder: its beginning, its plan, the status of each input, and its end.

`open_run` is the way in for all three kinds of a prediction: of named inputs (`predict`), of a watched folder (`watch`)
and on a cluster (`ray_engine`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

from segtool.errors import DataError, OutputExistsError, OutputWriteError
from segtool.files import remove_unfinished
from segtool.images.pixels import range_used, sensor_bits
from segtool.predict.jobs import Job, JobWorker, Stop, groups_of
from segtool.predict.journal import Journal, open_journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest
from segtool.predict.naming import SUFFIXES, Namer
from segtool.predict.outputs import output_names, stem_of
from segtool.predict.predict_options import PredictOptions
from segtool.predict.resume import earlier_entries, is_done, run_header
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source
from segtool.runtime.stream import ordered_map, worker_count
from segtool.runtime.tiling import uses_tiles
from segtool.text import counted

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@contextmanager
def open_run(
    segmenter: Segmenter, options: PredictOptions, *, stop: Stop = lambda: False, progress: Progress | None = None
) -> Iterator[PredictRun]:
    """Open a run with a locked output folder; at the end of the block, also after an error, write its manifest.

    Parameters
    ----------
    segmenter, options
        The model, and the options of the outputs.
    stop
        Called before each image; once it returns true, no image is started.
    progress
        Called with (processed inputs, all inputs) after each input.

    Raises
    ------
    SegtoolError
        As in `segtool.predict.predict.predict_paths`, except for the errors of inputs.
    """
    if options.probabilities:
        segmenter.require_probabilities()
    uses_tiles(segmenter.contract, segmenter.input_size, options.tile)  # raises if the tile size does not fit
    header = run_header(segmenter, options)
    with open_journal(options.out) as journal:
        earlier = earlier_entries(journal, header, options)
        run = PredictRun(segmenter, options, journal, header=header, earlier=earlier, stop=stop, progress=progress)
        try:
            yield run
        except BaseException:
            if journal.begun:
                # Report the error that stopped the run, not the failed write of the manifest after it.
                with suppress(OutputWriteError):
                    run.finish(interrupted=True)
            raise
        run.finish()


class PredictRun:
    """One run into one output folder, from `open_run`.

    Parameters
    ----------
    segmenter, options, journal
        The model, the options of the outputs, and the journal, which is locked.
    header
        The facts of the run for the manifest, as in `segtool.predict.resume.run_header`.
    earlier
        The entries to resume from, as in `segtool.predict.resume.earlier_entries`.
    stop, progress
        As in `open_run`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        options: PredictOptions,
        journal: Journal,
        *,
        header: Mapping[str, Any],
        earlier: Mapping[str, Entry],
        stop: Stop = lambda: False,
        progress: Progress | None = None,
    ) -> None:
        self.manifest = Manifest(options.out / MANIFEST_NAME, dict(header))
        self.earlier, self.stop = earlier, stop
        self._progress = progress
        self._segmenter = segmenter
        self._options = options
        self._replaced = tuple(SUFFIXES) if options.overwrite else options.kinds  # the kinds of an earlier run
        self._journal = journal
        self._began = 0.0
        self._jobs: list[Job] = []  # in the order of the manifest
        self._processed = 0  # how many of them are no longer "not run"
        self._warned = False  # that of a file with several images only the first is predicted

    def plan(self, sources: Sequence[Source], namer: Namer) -> list[Job]:
        """Return a job for each image; those that an earlier run has done are skipped."""
        entries = [self.earlier.get(os.path.abspath(source.name)) for source in sources]  # noqa: PTH100 (strings)
        kept = [None if entry is None else stem_of(entry.outputs) for entry in entries]
        jobs = []
        for source, entry, old, stem in zip(sources, entries, kept, namer.stems(sources, kept), strict=True):
            job = self.add(source, stem, is_known=old is not None)
            if entry is not None and job.is_known and is_done(entry, source, self._options.out):
                self._set(job, replace(entry, input=source.name, status="skipped"))
            jobs.append(job)
        return jobs

    def renew(self, job: Job) -> None:
        """Plan an input again that has changed: it is "not run", and replaces its own outputs."""
        job.is_known |= job.entry.status in ("done", "skipped")
        self._processed -= job.entry.status != "not run"
        job.entry = Entry(job.source.name)

    def refuse_outputs(self, jobs: Iterable[Job]) -> None:
        """Refuse outputs that are also inputs of the run, and existing outputs that must not be replaced.

        Those of inputs that are done or skipped are not looked at.

        Raises
        ------
        DataError, OutputExistsError
            There is such an output.
        """
        taken: set[str] | None = None
        folder = os.fspath(self._options.out)
        for job in _not_run(jobs):
            for name in output_names(job.stem, self._replaced).values():
                target = os.path.join(folder, name)  # noqa: PTH118 (very many strings)
                if not os.path.lexists(target):
                    continue
                taken = taken or {os.path.realpath(one.source.file) for one in self._jobs}
                if os.path.realpath(target) in taken:
                    raise DataError(f"The output {target} would replace an input; choose another folder with --out.")
                if not (job.is_known or self._journal.is_damaged or self._options.overwrite):
                    raise OutputExistsError(
                        f"{target} already exists and was not changed; pass --overwrite to replace it, or choose "
                        "another --out."
                    )

    def begin(self, **facts: Any) -> None:
        """Begin the journal, with further facts of the run, and remove unfinished files of killed runs."""
        self.manifest.header |= facts
        self._began = time.perf_counter()
        self._journal.begin(self.manifest.header, continues=bool(self.earlier))
        outputs = chain.from_iterable(entry.outputs.values() for entry in self.earlier.values())
        folders = {os.path.dirname(name) for name in chain([""], outputs, (job.stem for job in self._jobs))}  # noqa: PTH120
        remove_unfinished(self._options.out / name for name in folders)

    def work_through(self, jobs: Sequence[Job], *, put_off: Callable[[Job, Entry], bool] | None = None) -> None:
        """Predict those images that are "not run", and write their outputs.

        `put_off` is called for each failure; if it returns true, the image stays "not run".

        Raises
        ------
        OutputWriteError
            An output could not be written.
        """
        count = worker_count(self._options.workers)
        work = JobWorker(self._segmenter, self._options, expect=self.expect, stop=self.stop)
        groups = groups_of(_not_run(jobs), workers=count)
        results = ordered_map(work, groups, workers=count, ahead=count, stop=self.stop)
        with closing(results):  # stops the threads at once if an output cannot be written
            for job, entry in chain.from_iterable(results):
                if entry.status == "done" or put_off is None or not put_off(job, entry):
                    self.record(job, entry)

    def add(self, source: Source, stem: str = "", *, is_known: bool = False) -> Job:
        """Add an input to the run, in the order of the manifest."""
        job = Job(source, Entry(source.name), stem, is_known)
        self._jobs.append(job)
        return job

    def expect(self, job: Job) -> None:
        """Record that the outputs of an image may exist from now on: after a kill, they belong to this run."""
        self._journal.append(Entry(job.entry.input, "writing", output_names(job.stem, self._options.kinds)))

    def record(self, job: Job, entry: Entry) -> None:
        """Record the result of an image, which is "done" or a failure."""
        if entry.status == "done":
            self._journal.append(entry)
            self._set(job, entry)
            self._remove_outputs(job, [kind for kind in self._replaced if kind not in entry.outputs])
            if entry.note and not self._warned:
                self._warned = True
                logger.warning("%s: %s is predicted; manifest.json notes each such file.", entry.input, entry.note)
        else:
            if job.is_known or self._options.overwrite:
                with suppress(OSError):  # an image that is out of reach keeps its outputs
                    job.source.path.stat()
                    self._remove_outputs(job, self._replaced)
            self.fail(entry, job)
        if self._progress is not None:
            self._progress(self._processed, len(self._jobs))

    def _remove_outputs(self, job: Job, kinds: Iterable[str]) -> None:
        """Remove what an earlier run wrote for an image and this one does not."""
        for name in output_names(job.stem, kinds).values():
            with suppress(OSError):
                (self._options.out / name).unlink(missing_ok=True)

    def fail(self, entry: Entry, job: Job | None = None) -> None:
        """Record an image, or an argument that matches none, as failed, and log the reason."""
        failed = replace(entry, status="failed", outputs={})
        self._journal.append(failed)
        self._set(job or self.add(Source(entry.input, "")), failed)
        logger.error("%s", entry.error)

    def _set(self, job: Job, entry: Entry) -> None:
        self._processed += job.entry.status == "not run"
        job.entry = entry

    def finish(self, *, interrupted: bool = False) -> None:
        """Write the manifest; a complete one, of a run without inputs that were not run, replaces the journal."""
        interrupted |= self._processed < len(self._jobs)
        self.manifest.header["seconds"] = round(time.perf_counter() - self._began, 3)
        self.manifest.entries = [*(job.entry for job in self._jobs), *self._others()]
        self.manifest.interrupted = interrupted
        self.manifest.write()
        _warn_of_unused_range(job.entry for job in self._jobs if job.entry.status == "done")
        if not interrupted:
            self._journal.remove()

    def _others(self) -> list[Entry]:
        """Return the entries of earlier runs for inputs that are not in this run and whose outputs were kept."""
        named = {os.path.abspath(job.entry.input) for job in self._jobs} if self.earlier else set()  # noqa: PTH100
        written = {job.stem + SUFFIXES["labels"] for job in self._jobs if job.entry.status == "done"}
        return [
            replace(entry, status="skipped")
            for path, entry in self.earlier.items()
            if path not in named and entry.status in ("done", "skipped") and entry.outputs.get("labels") not in written
        ]


def _not_run(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.entry.status == "not run"]


def _warn_of_unused_range(entries: Iterable[Entry]) -> None:
    """Warn if all 16-bit images of a run use a small part of the range, as `data check` does."""
    largest = [entry.largest_value for entry in entries if entry.largest_value is not None]
    most = max(largest, default=0)
    if (bits := sensor_bits(most)) is None or not largest:
        return
    logger.warning(
        "%s of 16 bits %s %s of the range: the largest value is %d, as in data of %d bits, so the model saw %d of 256 "
        "levels. This is right only if it was trained on such files; otherwise scale them to 0..65535. `segtool data "
        "check` on a folder with images and masks prints the command.",
        counted(len(largest), "image"),
        "uses" if len(largest) == 1 else "use",
        range_used(bits),
        most,
        bits,
        most // 257 + 1,
    )
