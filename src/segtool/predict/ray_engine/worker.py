"""The actor on a node: one segmenter that predicts images and writes their outputs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.errors import DataError, ModelFileError, SegtoolError
from segtool.files import TEMPORARY, temporary_folder
from segtool.predict.manifest import Entry
from segtool.predict.outputs import entry_of, output_names
from segtool.predict.predict_options import PredictOptions
from segtool.predict.ray_engine.cluster import ClusterOptions, import_ray
from segtool.predict.ray_engine.inputs import Input
from segtool.predict.ray_engine.outputs import OutputFolder
from segtool.predict.ray_engine.storage import Location
from segtool.runtime.opening import load
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.sources import Source
from segtool.runtime.stream import ordered_map

# Images read from or written to another machine in parallel; the model runs one image at a time.
_TRANSFERS = 8


@dataclass
class BatchResult:
    """The result of a batch of inputs."""

    node: str
    entries: list[Entry] = field(default_factory=list)
    """Entries of the manifest, up to the input that stopped the run."""
    provider: Mapping[str, Any] = field(default_factory=dict)
    """The segmenter's report of its provider; empty if it did not start."""
    error: SegtoolError | None = None
    """The error that stopped the run. It is not raised: Ray would treat it as a fault of the node and retry."""


class SegmenterActor:
    """One segmenter on one node; Ray Data calls it with batches of inputs.

    `model` is a Ray reference to the bytes of the model file, `version` that of segtool where the run was started.
    """

    def __init__(
        self, *, model: Any, out: OutputFolder, options: PredictOptions, cluster: ClusterOptions, version: str
    ) -> None:
        ray = import_ray()
        self._out, self._options = out, options
        self._node = ray.get_runtime_context().get_node_id()
        self._running = threading.Lock()
        self._segmenter: Segmenter | SegtoolError
        try:
            _check_version(version)
            out.require_shared()
            self._segmenter = _open(ray.get(model), cluster)
        except SegtoolError as error:
            self._segmenter = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[BatchResult]]:
        """Predict inputs and write their outputs.

        `batch` has the column `input` (`Input` objects, (N,)); the result has the column `outcome` with one
        `BatchResult`.
        """
        segmenter = self._segmenter
        if isinstance(segmenter, SegtoolError):
            return {"outcome": [BatchResult(self._node, error=segmenter)]}
        outcome = BatchResult(self._node, provider=segmenter.provider_report)
        inputs = list(batch["input"])
        is_remote = any(isinstance(place, Location) for place in (self._out.place, *(one.place for one in inputs)))
        workers = _TRANSFERS if is_remote else 1
        try:
            for entry in ordered_map(partial(self._predict, segmenter), inputs, workers=workers, ahead=1):
                outcome.entries.append(entry)
        except SegtoolError as error:
            outcome.error = error
        return {"outcome": [outcome]}

    def _predict(self, segmenter: Segmenter, one: Input) -> Entry:
        try:
            with _local_file(one.place) as source, self._running:
                result = segmenter.work_on(0, source, options=self._options.of_each_image())
        except DataError as error:
            return Entry(one.name, status="failed", error=str(error))
        entry = entry_of(one.name, result, segmenter.contract, provider=segmenter.provider)
        if isinstance(one.place, Location):
            entry.mtime_ns = None  # of the copy
        if result.labels is None:
            entry.status, entry.error = "failed", str(entry.error).replace(source.name, one.name)
            return entry
        entry.outputs = output_names(one.stem, self._options.kinds)
        entry.output_sha256 = self._out.write(result, entry.outputs, segmenter.contract)
        entry.status = "done"
        return entry


def _check_version(version: str) -> None:
    """Refuse a node with another version of segtool."""
    if version != __version__:
        raise ModelFileError(
            f"A node has segtool {__version__}, expected {version}; install the same version on all nodes."
        )


def _open(model: bytes, cluster: ClusterOptions) -> Segmenter:
    with temporary_folder(TEMPORARY) as folder:  # onnxruntime keeps the model in memory
        path = folder / "model.onnx"
        path.write_bytes(model)
        return load(path, provider=cluster.provider, threads=cluster.threads, provider_options=cluster.provider_options)


@contextmanager
def _local_file(place: Source | Location) -> Iterator[Source]:
    """Yield a local file with the bytes of an input."""
    if isinstance(place, Source):
        yield place
        return
    with temporary_folder(TEMPORARY) as folder:
        path = folder / f"image{Path(place.key).suffix}"
        place.fetch(path)
        yield Source(str(path), str(folder))
