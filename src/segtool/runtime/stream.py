"""Read and predict many images in parallel: ahead of the consumer, in order, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from segtool.array_types import FloatArray, IntegerArray, UInt8Array
from segtool.contract import ModelContract
from segtool.errors import DataError, SegtoolError
from segtool.images.image_io import decode_pixels
from segtool.images.pixels import ArrayPixels, Pixels
from segtool.machine.processors import available_cpus
from segtool.runtime.postprocess import Run, label, label_and_score
from segtool.runtime.sources import InputFacts, Source, file_facts, input_facts, opened_source, read_array
from segtool.runtime.tiling import TileOption

MAX_WORKERS = 1024

# Above this number of pixels, decoded pixels and outputs dominate the memory: such images are processed one by one.
_LARGE_PIXELS = 1 << 25

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
    image: UInt8Array | None
    labels: IntegerArray | None
    error: SegtoolError | None
    seconds: float
    probabilities: FloatArray | None = None
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
    image: UInt8Array | None = None
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


def read_image(found: Reading, options: StreamOptions, *, channels: int, large: threading.Lock) -> Reading:
    """Read one image; an error is in the returned object, which must be passed to `predict_image`.

    Parameters
    ----------
    found
        The image to read; it is filled in and returned.
    options
        The options of the stream.
    channels
        Channels of the model's input.
    large
        Held by a large image from its decoding to its result.
    """
    started = time.perf_counter()
    source = found.source
    try:
        if source.is_array:
            found.facts = input_facts(source) if options.facts else None
            found.image = read_array(source, channels=channels, max_pixels=options.max_pixels)
            found.pixels = ArrayPixels(found.image)
        else:
            _read_file(found, options, channels, large)
    except SegtoolError as caught:
        found.error = caught
    except MemoryError:
        found.error = _too_large(source)
    found.seconds = time.perf_counter() - started
    return found


def predict_image(found: Reading, options: StreamOptions, *, contract: ModelContract, run: Run) -> Result:
    """Predict an image that was read, with the `run` of a model; an error is in the result."""
    started = time.perf_counter()
    labels = scores = None
    try:
        if found.pixels is not None and found.error is None:
            if options.probabilities:
                labels, scores = label_and_score(found.pixels, contract, run, options.tile)
            else:
                labels = label(found.pixels, contract, run, options.tile)
    except SegtoolError as caught:
        found.error = caught
    except MemoryError:
        found.error = _too_large(found.source)
    finally:
        found.turn.close()
    seconds = found.seconds + time.perf_counter() - started
    return Result(found.index, found.source.path, found.image, labels, found.error, seconds, scores, found.facts)


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


def _read_file(found: Reading, options: StreamOptions, channels: int, large: threading.Lock) -> None:
    """Read the pixels of a file, and keep them as an array on request; a large image waits for its turn."""

    def wait(count: int) -> None:
        if count > _LARGE_PIXELS:
            found.turn.enter_context(large)

    name, limit = found.source.file, options.max_pixels
    with opened_source(found.source) as (stream, state):
        found.facts = file_facts(stream, state, name) if options.facts else None
        pixels = decode_pixels(stream, channels=channels, name=name, max_pixels=limit, before=wait)
    if found.facts is not None and (largest := pixels.largest_value) is not None:
        found.facts = replace(found.facts, largest_value=largest)
    found.pixels = pixels
    if options.keep_images:
        found.image = pixels.whole()
        found.pixels = ArrayPixels(found.image)


def _too_large(source: Source) -> DataError:
    return DataError(f"The prediction of {source.name} does not fit in memory; shrink or split it.")
