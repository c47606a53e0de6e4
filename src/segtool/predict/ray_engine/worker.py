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
from segtool.predict.outputs import entry_of, output_names, write_outputs
from segtool.predict.predict_options import PredictOptions
from segtool.predict.ray_engine.cluster import ClusterOptions, import_ray
from segtool.predict.ray_engine.inputs import Input
from segtool.predict.ray_engine.outputs import OutputFolder
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
    entries: dict[int, Entry] = field(default_factory=dict)
    """Entries of the manifest by the number of the input, up to the input that stopped the run."""
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
            _check_node(out, version)
            self._segmenter = _open(ray.get(model), cluster)
        except SegtoolError as error:
            self._segmenter = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[BatchResult]]:
        """Predict inputs and write their outputs.

        `batch` has the columns `number` and `input` (`Input` objects), each (N,); the result has the column `outcome`
        with one `BatchResult`.
        """
        segmenter = self._segmenter
        if isinstance(segmenter, SegtoolError):
            return {"outcome": [BatchResult(self._node, error=segmenter)]}
        outcome = BatchResult(self._node, provider=segmenter.provider_report)
        inputs = list(batch["input"])
        is_local = all(place.is_local for place in (self._out.place, *(one.place for one in inputs)))
        predict = partial(self._predict, segmenter)
        entries = ordered_map(predict, inputs, workers=1 if is_local else _TRANSFERS, ahead=1)
        try:
            outcome.entries.update(zip(map(int, batch["number"]), entries, strict=True))
        except SegtoolError as error:
            outcome.error = error
        return {"outcome": [outcome]}

    def _predict(self, segmenter: Segmenter, one: Input) -> Entry:
        try:
            with _local_file(one) as path, self._running:
                source = Source(str(path), str(path.parent), one.index)
                result = segmenter.work_on(0, source, options=self._options.of_each_image())
        except DataError as error:
            return Entry(one.name, status="failed", error=str(error))
        entry = entry_of(one.name, result, segmenter.contract, provider=segmenter.provider)
        if not one.place.is_local:
            entry.mtime_ns = None  # of the copy
        if result.labels is None:
            of_file = one.name if one.index is None else one.name.removesuffix(f"[{one.index}]")
            entry.status, entry.error = "failed", str(entry.error).replace(str(result.path), of_file)
            return entry
        entry.outputs = names = output_names(one.stem, self._options.kinds)
        entry.output_sha256 = self._out.write(
            names.values(), lambda folder: write_outputs(result, names, folder, segmenter.contract)
        )
        entry.status = "done"
        return entry


def _check_node(out: OutputFolder, version: str) -> None:
    """Refuse a node with another version of segtool, or whose output folder is another one."""
    if version != __version__:
        raise ModelFileError(
            f"A node has segtool {__version__}, expected {version}; install the same version on all nodes."
        )
    out.require_shared()


def _open(model: bytes, cluster: ClusterOptions) -> Segmenter:
    with temporary_folder(TEMPORARY) as folder:  # onnxruntime keeps the model in memory
        path = folder / "model.onnx"
        path.write_bytes(model)
        return load(path, provider=cluster.provider, threads=cluster.threads, provider_options=cluster.provider_options)


@contextmanager
def _local_file(one: Input) -> Iterator[Path]:
    """Yield a local file with the bytes of an input."""
    if one.place.is_local:
        yield Path(one.place.path)
        return
    with temporary_folder(TEMPORARY) as folder:
        path = folder / f"image{Path(one.place.key).suffix}"
        one.place.fetch(path)
        yield path
