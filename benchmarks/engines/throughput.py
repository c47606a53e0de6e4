"""Images a second on all processors: many one-thread sessions, one session with many threads, batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from engines.engine import Engine, Images, Predict
from engines.openvino_engine import open_throughput

IMAGES_PER_TURN = 64


@dataclass(frozen=True)
class Mode:
    """One way to run an engine on all processors.

    Attributes
    ----------
    title
        For people.
    engine
        Which engine's file.
    open
        Called with the path and the number of processors; takes any number of images.
    """

    title: str
    engine: Engine
    open: Callable[[Path, int], Predict]


class ThroughputSubject:
    """A mode that takes turns of `IMAGES_PER_TURN` images."""

    def __init__(self, mode: Mode, processors: int, images_file: Path) -> None:
        self._predict = mode.open(mode.engine.path, processors)
        with np.load(images_file) as arrays:
            self._images: Images = arrays["validation"]
        self._predict(self._chosen(0))

    def turn(self, number: int) -> list[float]:
        """Return the seconds of one pass over the images, after a short one that is not timed."""
        images = self._chosen(number)
        self._predict(images[: IMAGES_PER_TURN // 2])
        started = time.perf_counter()
        self._predict(images)
        return [time.perf_counter() - started]

    def _chosen(self, number: int) -> Images:
        return self._images[(np.arange(IMAGES_PER_TURN) + number * IMAGES_PER_TURN) % len(self._images)]


def modes(engines: Iterable[Engine]) -> dict[str, Mode]:
    """Return the modes to compare, by a short name."""
    by_key = {engine.key: engine for engine in engines}
    ours, stock, litert, openvino = (by_key[f"{name}-int8"] for name in ("ours", "stock", "litert", "openvino"))
    pruned = by_key["ours-int8-pruned"]
    return {
        "pruned-sessions": Mode(f"{pruned.title}, one-thread sessions", pruned, partial(open_sessions, engine=pruned)),
        "ours-sessions": Mode("segtool INT8, one-thread sessions", ours, partial(open_sessions, engine=ours)),
        "ours-batch-1": Mode("segtool INT8, one session, batch 1", ours, partial(open_batched, engine=ours, size=1)),
        "ours-batch-8": Mode("segtool INT8, one session, batch 8", ours, partial(open_batched, engine=ours, size=8)),
        "stock-sessions": Mode("quantize_static, one-thread sessions", stock, partial(open_sessions, engine=stock)),
        "stock-batch-32": Mode(
            "quantize_static, one session, batch 32", stock, partial(open_batched, engine=stock, size=32)
        ),
        "litert-sessions": Mode("LiteRT INT8, one-thread sessions", litert, partial(open_sessions, engine=litert)),
        "openvino-throughput": Mode("OpenVINO INT8, its throughput mode", openvino, open_throughput),
    }


def open_sessions(path: Path, processors: int, *, engine: Engine) -> Predict:
    """Open a one-thread session for each processor, each in a thread that takes the next image when it is free."""
    sessions = [engine.open(path, 1) for _ in range(processors)]
    pool = ThreadPoolExecutor(processors)

    def predict(images: Images) -> Images:
        labels = np.empty(images.shape[:3], np.uint8)
        indices = iter(range(len(images)))

        def work(session: Predict) -> None:
            for index in indices:
                labels[index] = session(images[index : index + 1])[0]

        list(pool.map(work, sessions))
        return labels

    return predict


def open_batched(path: Path, processors: int, *, engine: Engine, size: int) -> Predict:
    """Open one session on all processors that is given `size` images at a time."""
    session = engine.open(path, processors)

    def predict(images: Images) -> Images:
        return np.concatenate([session(images[start : start + size]) for start in range(0, len(images), size)])

    return predict
