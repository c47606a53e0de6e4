"""Prediction of many images on a Ray cluster: Ray Data schedules and retries, segtool reads, predicts and writes."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool.errors import OutputWriteError
from segtool.files import remove_unfinished
from segtool.predict.entries import WideImages
from segtool.predict.journal import Journal, open_journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest, read_manifest, write_manifest
from segtool.predict.outputs import output_names
from segtool.predict.predict import check_options, missing_entry
from segtool.predict.predict_options import PredictOptions
from segtool.predict.ray_engine.cluster import ClusterOptions, connected, count_workers
from segtool.predict.ray_engine.inputs import Input, find_inputs
from segtool.predict.ray_engine.outputs import OutputFolder, open_output, refuse_outputs, with_scratch
from segtool.predict.ray_engine.worker import Outcome, Predictor, Work
from segtool.predict.resume import run_header
from segtool.runtime.segmenter import load

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

# Images in a batch. If its actor is lost, the batch is repeated. Few, so that all actors end at the same time.
_BATCH = 32
_BATCHES_PER_WORKER = 8


def predict_on_cluster(
    model: Path,
    inputs: Sequence[str],
    *,
    out: str,
    options: PredictOptions,
    cluster: ClusterOptions,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict files, folders, patterns and URLs on a Ray cluster, and write the requested outputs.

    The files are bit-identical to those of `segtool.predict.predict.predict_paths`. Ray repeats the batches of a lost
    node on another one. The manifest is written last, also after an interruption (Ctrl-C). `predict_paths` with
    `resume` completes an unfinished run in a folder.

    Parameters
    ----------
    model
        The .onnx file; its bytes are sent to the nodes.
    inputs
        Files, folders (searched recursively), patterns and URLs of fsspec; paths are opened on the nodes.
    out
        A folder that all nodes share, or a URL.
    options
        What to write; `out`, `workers` and `resume` in it are not used.
    cluster
        The cluster.
    progress
        Called with (finished inputs, all inputs) after each batch.

    Returns
    -------
    dict
        The content of the manifest.

    Raises
    ------
    DataError
        No input matches anything, an output would replace an input, or the tile size does not fit the model.
    MissingExtraError
        Ray, fsspec or a package for a protocol is not installed.
    ModelFileError
        The model cannot be opened, or probabilities were requested and it has none.
    OutputExistsError
        An output, the manifest or the journal of an incomplete run exists. Nothing was run.
    OutputWriteError
        An output could not be written.
    ProviderError
        There is no cluster, no actor fits on it, or the provider does not start there.
    """
    folder = open_output(out)
    options = replace(options, out=Path(folder.name), resume=False)
    found, missing = find_inputs(inputs, out=folder.name)
    # check_options looks at local files; at a URL, refuse_outputs finds what exists.
    is_local = isinstance(folder.place, Path)
    segmenter = load(model, provider="cpu", threads=cluster.threads)
    check_options(segmenter, options if is_local else replace(options, overwrite=True))
    header = {**run_header(segmenter, options), "engine": "ray"}
    planned = [Entry(one.name, "writing", output_names(one.stem, options.kinds)) for one in found]
    names = [name for entry in planned for name in entry.outputs.values()]
    with open_journal(options.out) if is_local else nullcontext() as journal:
        refuse_outputs(folder, [*names, MANIFEST_NAME], [one.place for one in found], overwrite=options.overwrite)
        with connected(cluster) as ray:
            workers = count_workers(ray, cluster)
            header |= {"ray_version": ray.__version__, "workers": workers}
            record = _Record(header, journal, progress)
            with with_scratch(folder) as shared, _manifest_at_end(record, shared):
                record.begin(planned)
                if is_local:
                    remove_unfinished({options.out, *((options.out / name).parent for name in names)})
                for text in missing:
                    record.set(len(record.entries), missing_entry(text))
                with closing(_batches(ray, model, found, Work(shared, options, cluster), workers)) as batches:
                    for outcome in (outcome for batch in batches for outcome in batch["outcome"]):
                        record.add(outcome)
    return record.manifest


def _batches(ray: Any, model: Path, inputs: Sequence[Input], work: Work, workers: int) -> Any:
    """Return an iterator over the outcomes of an actor pool; closing it ends the actors at once."""
    size = max(1, min(_BATCH, len(inputs) // (workers * _BATCHES_PER_WORKER)))
    rows = [{"number": number, "input": one} for number, one in enumerate(inputs)]
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    results = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
        Predictor,
        fn_constructor_kwargs={"model": ray.put(model.read_bytes()), "work": work},
        batch_size=None,
        batch_format="numpy",
        # A range, not a fixed size: a cluster that lost a node continues with the actors that fit.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=work.cluster.threads,
        num_gpus=work.cluster.gpus or None,
    )
    results.context.enable_progress_bars = False
    return iter(results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))


class _Record:
    """The status of each input: first in the journal, at the end in the manifest; a URL has no journal.

    Attributes
    ----------
    entries
        The planned inputs in order, then the arguments that match nothing.
    manifest
        The content of the manifest, once it is written.
    """

    def __init__(self, header: Mapping[str, Any], journal: Journal | None, progress: Progress | None) -> None:
        self.entries: list[Entry] = []
        self.manifest: dict[str, Any] = {}
        self._header, self._journal, self._progress = header, journal, progress
        self._began, self._finished = time.perf_counter(), 0
        self._nodes: Counter[str] = Counter()
        self._wide = WideImages()
        self._reports: dict[str, Mapping[str, Any]] = {}

    def begin(self, planned: Sequence[Entry]) -> None:
        """Write the planned inputs to the journal; from here on their outputs may exist."""
        self.entries = [Entry(entry.input) for entry in planned]
        if self._journal is not None:
            self._journal.begin(self._header)
            for entry in planned:
                self._journal.append(entry)

    def set(self, number: int, entry: Entry) -> None:
        """Record the status of an input."""
        self.entries[number : number + 1] = [entry]
        self._finished += 1
        if self._journal is not None:
            self._journal.append(entry)
        self._wide.add(entry)
        if entry.status == "failed":
            logger.error("%s", entry.error)

    def add(self, outcome: Outcome) -> None:
        """Record the outcome of a batch, and raise the error that stopped it."""
        for number, entry in outcome.entries.items():
            self.set(number, entry)
        self._nodes[outcome.node] += len(outcome.entries)
        if outcome.provider:
            self._reports.setdefault(outcome.provider["provider"], outcome.provider)
        if self._progress is not None:
            self._progress(self._finished, len(self.entries))
        if outcome.error is not None:
            raise outcome.error

    def write(self, folder: OutputFolder, *, interrupted: bool) -> None:
        """Write the manifest into the output folder."""
        counts = Counter(entry.status for entry in self.entries)
        header = {
            **self._header,
            **next(iter(self._reports.values()), {}),
            "provider": ", ".join(sorted(self._reports)),
            "nodes": dict(+self._nodes),
            "seconds": round(time.perf_counter() - self._began, 3),
        }

        def write(scratch: Path) -> None:
            manifest = Manifest(scratch / MANIFEST_NAME, counts["done"], 0, counts["failed"], counts["not run"])
            manifest.interrupted = interrupted or manifest.not_run > 0
            write_manifest(manifest, header, self.entries)
            self.manifest = read_manifest(manifest.path)

        folder.write([MANIFEST_NAME], write)
        self._wide.warn()
        if self._journal is not None:
            self._journal.is_over = self.manifest["status"] == "complete"


@contextmanager
def _manifest_at_end(record: _Record, folder: OutputFolder) -> Iterator[None]:
    """Write the manifest of a run at its end, also after an error."""
    try:
        yield
    except BaseException:
        # Report the error that stopped the run, not the failed write of the manifest after it.
        with suppress(OutputWriteError):
            record.write(folder, interrupted=True)
        raise
    record.write(folder, interrupted=False)
