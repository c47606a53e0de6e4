"""What a run has to do: the images that are to be predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from segtool.predict.spool import Spool
from segtool.runtime.sources import Source


@dataclass(frozen=True, slots=True)
class Job:
    """An image to predict.

    Attributes
    ----------
    number
        Its place in the manifest, from 0.
    source
        The image.
    stem
        Of its outputs, relative to the output folder.
    is_known
        Whether an earlier run, now resumed, wrote or began its outputs, which may then be replaced.
    """

    number: int
    source: Source
    stem: str
    is_known: bool = False


class Jobs:
    """Jobs in the order in which they were added; only a few are in memory, whatever their number."""

    def __init__(self) -> None:
        self._jobs: Spool[tuple[int, str, str, int | None, str, bool]] = Spool()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        for number, file, folder, index, stem, is_known in self._jobs:
            yield Job(number, Source(file, folder, index), stem, is_known)

    def add(self, job: Job) -> None:
        """Add a job."""
        source = job.source
        self._jobs.append((job.number, source.file, source.folder, source.index, job.stem, job.is_known))

    @property
    def folders(self) -> Iterator[str]:
        """The folders of the outputs, relative to the output folder; one may come more than once."""
        latest = None
        for job in self:
            folder = os.path.dirname(job.stem)  # noqa: PTH120 (very many strings)
            if folder != latest:
                yield folder
            latest = folder
