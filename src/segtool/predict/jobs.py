"""The inputs of a run, and the work of a thread on a group of them: read, predict, write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from segtool.predict.manifest import Entry
from segtool.predict.outputs import entry_of, output_names, write_outputs
from segtool.predict.predict_options import PredictOptions
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source
from segtool.runtime.stream import Reading, Result

_MOST_IN_A_GROUP = 8
_PIXELS_AT_ONCE = 1 << 18  # of the images in memory at once in each thread, without the last one

Stop = Callable[[], bool]


@dataclass(slots=True)
class Job:
    """One input of a run: an image, or an argument that matches none.

    Attributes
    ----------
    source
        The image, or the argument in its place.
    entry
        Its entry of the manifest, "not run" until the input is done, skipped or failed.
    stem
        Stem of its outputs, relative to the output folder.
    is_known
        Whether the resumed run wrote or began its outputs, which may then be replaced.
    """

    source: Source
    entry: Entry
    stem: str = ""
    is_known: bool = False


class JobWorker:
    """Predict groups of images and write their outputs; called in several threads.

    Parameters
    ----------
    segmenter, options
        The model, and the options of the outputs.
    expect
        Called with each image before its outputs are written.
    stop
        Called before each image; once it returns true, no image is started.
    """

    def __init__(
        self, segmenter: Segmenter, options: PredictOptions, *, expect: Callable[[Job], object], stop: Stop
    ) -> None:
        self._segmenter, self._options = segmenter, options
        self._expect, self._stop = expect, stop
        self._wanted = options.of_each_image()

    def __call__(self, jobs: Sequence[Job]) -> list[tuple[Job, Entry]]:
        """Return the entry of each image of a group, without the images after a stop.

        Small images are first all read, then all run, then all written. The data of each step stays in the caches of
        the processor, and the threads wait for each other less often.
        """
        return [
            (job, self._write(job, result))
            for readings in self._read(jobs)
            for job, result in [(job, self._segmenter.answer(found, options=self._wanted)) for job, found in readings]
        ]

    def _read(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, Reading]]]:
        """Yield the images of a group as read, in batches that are small together."""
        readings: list[tuple[Job, Reading]] = []
        pixels = 0
        for job in jobs:
            if self._stop():
                break
            found = self._segmenter.read(0, job.source, options=self._wanted)
            readings.append((job, found))
            pixels += 0 if found.pixels is None else math.prod(found.pixels.size)
            if pixels > _PIXELS_AT_ONCE:
                yield readings
                readings, pixels = [], 0
        yield readings

    def _write(self, job: Job, result: Result) -> Entry:
        """Write the outputs of an image; return its entry, which is "done" if there were outputs to write."""
        contract = self._segmenter.contract
        entry = entry_of(job.entry.input, result, contract, provider=self._segmenter.provider)
        if result.labels is not None:
            self._expect(job)
            entry.outputs = output_names(job.stem, self._options.kinds)
            entry.output_sha256 = write_outputs(result, entry.outputs, self._options.out, contract)
            entry.status = "done"
        return entry


def groups_of(jobs: Sequence[Job], *, workers: int) -> Iterator[Sequence[Job]]:
    """Split jobs into groups for the threads, small enough that each thread gets many of them."""
    size = max(1, min(_MOST_IN_A_GROUP, len(jobs) // (workers * 16)))
    return (jobs[at : at + size] for at in range(0, len(jobs), size))
