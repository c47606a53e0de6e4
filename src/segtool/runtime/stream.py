"""Working on many files at once: ahead of the reader, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError, SegtoolError
from segtool.images.pixels import Pixels
from segtool.machine.processors import available_cpus
from segtool.runtime.sources import InputFacts, Source
from segtool.runtime.tiling import TileOption

MAX_WORKERS = 1024
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one image of a stream.

    Attributes
    ----------
    index
        Its place in the input, from 0.
    path
        Its file.
    image
        uint8 (H, W, C) as the model saw it before resizing; None where it could not be read or was not to be kept.
    labels
        Class ids (H, W), uint8 (uint16 above 256 classes); None on failure.
    error
        Why it failed; None where it did not.
    seconds
        Time of reading the file and of getting its labels, including the wait for a free processor.
    probabilities
        float32 (H, W, K) where they were asked for, else None.
    facts
        What identifies the input, where that was asked for.
    """

    index: int
    path: Path
    image: npt.NDArray[np.uint8] | None
    labels: npt.NDArray[np.integer[Any]] | None
    error: SegtoolError | None
    seconds: float
    probabilities: npt.NDArray[np.float32] | None = None
    facts: InputFacts | None = None


@dataclass
class Reading:
    """One image that was read and waits for the model.

    Attributes
    ----------
    index, source
        Its place in the input, and what it is.
    pixels
        What the model is to see; None where it could not be read.
    image, facts, error
        As in `Result`.
    seconds
        Time that the reading took.
    turn
        What it holds until its answer is there, such as the right to be large.
    """

    index: int
    source: Source
    pixels: Pixels | None = None
    image: npt.NDArray[np.uint8] | None = None
    facts: InputFacts | None = None
    error: SegtoolError | None = None
    seconds: float = 0.0
    turn: ExitStack = field(default_factory=ExitStack)


@dataclass(frozen=True)
class StreamOptions:
    """What is done with each image of a stream; the fields are explained at `Segmenter.stream`.

    `facts` asks for what identifies the input as well, such as its SHA-256.
    """

    tile: TileOption
    probabilities: bool
    keep_images: bool
    max_pixels: int
    facts: bool = False


def worker_count(asked: int | None) -> int:
    """Return how many threads work on a stream: as many as were asked for, or one more than the processors.

    Raises
    ------
    DataError
        Less than 1 or more than any machine gains from were asked for.
    """
    if asked is not None and not 1 <= asked <= MAX_WORKERS:
        raise DataError(f"A stream has 1 to {MAX_WORKERS} workers, {asked} were asked for; ask for fewer.")
    return available_cpus() + 1 if asked is None else asked


def ordered_map(
    function: Callable[[Item], Answer],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Answer, None, None]:
    """Apply `function` in `workers` threads and yield the answers in the order of `items`.

    At most `workers + ahead` items are in work or waiting to be collected, and `items` is read no further than
    that. What `function` raises is raised here, in its turn; closing the iterator drops what has not begun. Once
    `stop` returns true nothing more is begun, and what is in work is still yielded.
    """
    pending: deque[Future[Answer]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="segtool")
    try:
        for item in items:
            if stop():
                break
            pending.append(pool.submit(function, item))
            if len(pending) >= workers + ahead:
                yield pending.popleft().result()
        while pending:
            if stop():
                # From the last one on: a thread that is free takes the first, which would then be begun after all.
                pending = deque(future for future in list(reversed(pending)) if not future.cancel())
                pending.reverse()
            if pending:
                yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
