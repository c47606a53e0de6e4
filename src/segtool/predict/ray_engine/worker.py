"""What runs on the nodes: an actor that holds one segmenter and predicts the images it is given."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.errors import DataError, ModelFileError, SegtoolError
from segtool.files import TEMPORARY
from segtool.predict.entries import entry_of
from segtool.predict.manifest import Entry
from segtool.predict.outputs import output_names, write_outputs
from segtool.predict.predict_options import PredictOptions
from segtool.predict.ray_engine.cluster import ClusterOptions
from segtool.predict.ray_engine.extra import import_ray
from segtool.predict.ray_engine.inputs import Input
from segtool.predict.ray_engine.outputs import OutputFolder
from segtool.predict.ray_engine.storage import Place
from segtool.runtime.segmenter import Segmenter, load
from segtool.runtime.sources import Source
from segtool.runtime.stream import Result, StreamOptions, ordered_map

# Images on their way from or to another machine at a time; they wait for the network, the model runs one at a time.
_TRANSFERS = 8


@dataclass(frozen=True)
class Work:
    """What all actors of a run do; it is pickled to each.

    Attributes
    ----------
    out
        Where outputs go.
    options
        What is written; `out`, `workers` and `resume` in it are not used.
    cluster
        Which provider each actor has, and how many threads.
    systems
        The file systems of the inputs that are no local paths.
    version
        Of segtool on the machine that started the run.
    """

    out: OutputFolder
    options: PredictOptions
    cluster: ClusterOptions
    systems: tuple[Any, ...] = ()
    version: str = __version__


class Predictor:
    """One segmenter on one node; Ray Data calls it with batches of inputs.

    What stops the run is not raised but returned: Ray would take it for a fault of the node and try again.

    Parameters
    ----------
    model
        A Ray reference to the bytes of the model file.
    work
        What to do.
    """

    def __init__(self, model: Any, work: Work) -> None:
        ray = import_ray()
        self._work = work
        self._node = ray.get_runtime_context().get_node_id()
        self._running = threading.Lock()
        self._segmenter: Segmenter | None = None
        self._refusal: SegtoolError | None = None
        try:
            self._segmenter = _open(ray.get(model), work)
        except SegtoolError as error:
            self._refusal = error

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Predict inputs and write their outputs.

        Parameters
        ----------
        batch
            The columns of `to_rows`, each (N,).

        Returns
        -------
        dict
            `index` as it came; `entry`, the manifest's entries as JSON; `provider`, the segmenter's report as JSON, and
            `node`, by which and where they were made; `error` and `kind`, the message and the class of what stopped
            the run, from which input on `entry` is empty; else empty.
        """
        columns = (batch[name] for name in ("name", "path", "stem", "frame", "system"))
        inputs = [self._input(*values) for values in zip(*columns, strict=True)]
        entries, error = self._entries(inputs)
        provider = "" if self._segmenter is None else json.dumps(self._segmenter.provider_report)
        return {
            "index": list(batch["index"]),
            "entry": entries + [""] * (len(inputs) - len(entries)),
            "provider": [provider] * len(inputs),
            "node": [self._node] * len(inputs),
            "error": [str(error or "")] * len(inputs),
            "kind": ["" if error is None else type(error).__name__] * len(inputs),
        }

    def _entries(self, inputs: Sequence[Input]) -> tuple[list[str], SegtoolError | None]:
        """Return the entries of inputs as JSON, up to what stopped the run."""
        entries: list[str] = []
        if self._segmenter is None:
            return entries, self._refusal
        predict = partial(self._predict, self._segmenter)
        results = ordered_map(predict, inputs, workers=self._transfers(inputs), ahead=1)
        try:
            entries.extend(json.dumps(entry.to_dict()) for entry in results)
        except SegtoolError as error:
            return entries, error
        return entries, None

    def _input(self, name: str, path: str, stem: str, frame: int, system: int) -> Input:
        place = Path(path) if system < 0 else Place(self._work.systems[system], path)
        return Input(name, place, stem, None if frame < 0 else int(frame))

    def _transfers(self, inputs: Sequence[Input]) -> int:
        is_remote = not isinstance(self._work.out.place, Path) or any(isinstance(one.place, Place) for one in inputs)
        return _TRANSFERS if is_remote else 1

    def _predict(self, segmenter: Segmenter, one: Input) -> Entry:
        try:
            with _as_file(one) as path:
                source = Source(str(path), str(path.parent), one.index)
                result = self._run(segmenter, source)
        except DataError as error:
            return Entry(one.name, status="failed", error=str(error))
        entry = entry_of(one.name, result, segmenter.contract, provider=segmenter.provider)
        if isinstance(one.place, Place):
            entry.mtime_ns = None  # of the copy
        if result.labels is None:
            entry.status, entry.error = "failed", _renamed(str(entry.error), source, one.name)
            return entry
        entry.outputs = output_names(one.stem, self._work.options.kinds)
        entry.output_sha256 = self._write(result, entry.outputs, segmenter)
        entry.status = "done"
        return entry

    def _run(self, segmenter: Segmenter, source: Source) -> Result:
        options = self._work.options
        wanted = StreamOptions(options.tile, options.probabilities, options.overlay, options.max_pixels, facts=True)
        with self._running:
            return segmenter.work_on(0, source, options=wanted)

    def _write(self, result: Result, outputs: Mapping[str, str], segmenter: Segmenter) -> dict[str, str]:
        digests: dict[str, str] = {}
        self._work.out.write(
            outputs.values(), lambda folder: digests.update(write_outputs(result, outputs, folder, segmenter.contract))
        )
        return digests


def to_rows(inputs: Iterable[Input]) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
    """Return inputs as rows of plain values, and the file systems that column `system` points to (-1: local paths).

    Column `frame` is the place in a stack, -1 where the file is one image.
    """
    systems: dict[int, tuple[int, Any]] = {}
    rows = []
    for index, one in enumerate(inputs):
        if isinstance(one.place, Path):
            number, path = -1, str(one.place)
        else:
            number, path = systems.setdefault(id(one.place.fs), (len(systems), one.place.fs))[0], one.place.path
        frame = -1 if one.index is None else one.index
        rows.append(
            {"index": index, "name": one.name, "path": path, "stem": one.stem, "frame": frame, "system": number}
        )
    return rows, tuple(fs for _, fs in systems.values())


def _open(model: bytes, work: Work) -> Segmenter:
    """Open a model from its bytes, where this node is fit for the work.

    Raises
    ------
    ModelFileError
        Another version of segtool is installed here.
    OutputWriteError
        The output folder is another one here.
    ProviderError
        The provider does not start here.
    """
    if work.version != __version__:
        raise ModelFileError(
            f"A node has segtool {__version__}, the run was started with {work.version}; install the same on all."
        )
    work.out.require_shared()
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:  # onnxruntime keeps all of it in memory
        path = Path(folder, "model.onnx")
        path.write_bytes(model)
        cluster = work.cluster
        return load(path, provider=cluster.provider, threads=cluster.threads, provider_options=cluster.provider_options)


def _renamed(error: str, source: Source, name: str) -> str:
    """Return an error of the file on the node with what the user calls it."""
    of_file = name if source.index is None else name.removesuffix(f"[{source.index}]")
    return error.replace(str(source.path), of_file)


@contextmanager
def _as_file(one: Input) -> Iterator[Path]:
    """Give a local file with the bytes of an input."""
    if isinstance(one.place, Path):
        yield one.place
        return
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        path = Path(folder, "image" + Path(one.place.key).suffix)
        one.place.fetch(path)
        yield path
