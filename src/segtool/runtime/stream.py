"""Process many files in parallel: ahead of the consumer, in order, in bounded memory."""

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
    """The result for one image of a stream.

    Attributes
    ----------
    index
        Its position in the input, from 0.
    path
        Its file.
    image
        uint8 (H, W, C), the model's input before resizing; None if it could not be read or was not requested.
    labels
        Class ids (H, W), uint8 (uint16 above 256 classes); None on failure.
    error
        The error; None if there is none.
    seconds
        Time of reading the file and of getting its labels, including the wait for a free processor.
    probabilities
        float32 (H, W, K) if requested, otherwise None.
    facts
        Identity of the input, if requested.
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
    """One image that was read and is waiting for the model.

    Attributes
    ----------
    index, source
        Its position in the input, and its source.
    pixels
        The pixels for the model; None if they could not be read.
    image, facts, error
        As in `Result`.
    seconds
        Time of the reading.
    turn
        Resources that it holds until its result exists, such as the semaphore for large images.
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
    """Options for each image of a stream; `Segmenter.stream` explains the fields.

    `facts` also requests the identity of the input, such as its SHA-256.
    """

    tile: TileOption
    probabilities: bool
    keep_images: bool
    max_pixels: int
    facts: bool = False


def worker_count(asked: int | None) -> int:
    """Return the number of threads of a stream: the requested number, or one more than the processors.

    Raises
    ------
    DataError
        The requested number is below 1 or too large.
    """
    if asked is not None and not 1 <= asked <= MAX_WORKERS:
        raise DataError(f"The number of workers is {asked}, expected 1 to {MAX_WORKERS}; pass such a number.")
    return available_cpus() + 1 if asked is None else asked


def ordered_map(
    function: Callable[[Item], Answer],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Answer, None, None]:
    """Apply `function` in `workers` threads and yield the results in the order of `items`.

    At most `workers + ahead` items are in progress or waiting, and `items` is read no further. Exceptions of
    `function` are raised here, in order. Closing the iterator drops the items that have not started. Once `stop`
    returns true, no item is started, and items in progress are still yielded.
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
                # Cancel from the end: a free thread would otherwise start the first waiting item in the meantime.
                pending = deque(future for future in list(reversed(pending)) if not future.cancel())
                pending.reverse()
            if pending:
                yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
