"""Predicting many images on a Ray cluster: Ray Data schedules, retries and copes with lost nodes; we predict, write."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from segtool import errors
from segtool.distributed.cluster import ClusterOptions, connected, count_workers, sentences
from segtool.distributed.inputs import find_inputs
from segtool.distributed.outputs import OutputFolder, open_output, refuse_outputs, with_scratch
from segtool.distributed.worker import Predictor, Work, to_rows
from segtool.errors import OutputWriteError
from segtool.files import write_json
from segtool.runtime.manifest import Entry, Manifest
from segtool.runtime.outputs import output_names
from segtool.runtime.predict import MANIFEST_NAME, PredictOptions, missing_entry, run_header
from segtool.runtime.segmenter import load
from segtool.runtime.tiling import uses_tiles

Progress = Callable[[int, int], None]

_ERRORS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}

# Images that an actor is given at a time, and that are done again where it is lost: few, so that all end together.
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
    """Predict files, folders, patterns and URLs on a Ray cluster, and write what the options ask for.

    Files are those of `segtool.runtime.predict.predict_paths`, bit for bit. What a lost node had in work is done again
    on another one by Ray. The manifest is written last, also after an interruption (Ctrl-C).

    Parameters
    ----------
    model
        The .onnx file; its bytes are sent to the nodes.
    inputs
        Files, folders (searched below), patterns and URLs of fsspec; paths are opened on the nodes.
    out
        A folder that all nodes share, or a URL.
    options
        What to write; `out` and `workers` in it are not used.
    cluster
        Where it runs.
    progress
        Called with (inputs dealt with, inputs in all) after each batch.

    Returns
    -------
    dict
        The manifest as it stands in its file.

    Raises
    ------
    DataError
        No input names anything, an output would replace an input, or the tile size does not fit the model.
    MissingExtraError
        Ray, fsspec or what a protocol needs is not installed.
    ModelFileError
        The model cannot be opened, or probabilities were asked for and it gives none.
    OutputExistsError
        An output or the manifest is there already; then nothing has been run.
    OutputWriteError
        An output could not be written.
    ProviderError
        There is no cluster, it has no room for an actor, or the provider does not start there.
    """
    folder = open_output(out)
    found, missing = find_inputs(inputs, out=folder.name)
    header = _header(model, options, cluster)
    names = [name for one in found for name in output_names(one.stem, options.kinds).values()]
    refuse_outputs(folder, [*names, MANIFEST_NAME], [one.place for one in found], overwrite=options.overwrite)
    entries = [Entry(one.name) for one in found] + [missing_entry(text) for text in missing]
    with connected(cluster) as ray:
        workers = count_workers(ray, cluster)
        header |= {"ray_version": ray.__version__, "workers": workers}
        with with_scratch(folder) as shared, _Run(entries, header, shared, progress) as run, sentences(ray):
            rows, systems = to_rows(found)
            work = Work(shared, options, cluster.provider, cluster.threads, cluster.gpus, systems)
            run.follow(_dataset(ray, model, rows, work, workers))
    return run.manifest.to_dict()


def _header(model: Path, options: PredictOptions, cluster: ClusterOptions) -> dict[str, Any]:
    """Open the model here, refuse what it cannot do, and return what the manifest says of the run."""
    segmenter = load(model, provider="cpu", threads=cluster.threads)
    if options.probabilities:
        segmenter.require_probabilities()
    uses_tiles(segmenter.contract, segmenter.input_size, options.tile)  # refuses a tile size that does not fit
    with model.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {**run_header(segmenter, options), "model_sha256": digest, "engine": "ray"}


def _dataset(ray: Any, model: Path, rows: list[dict[str, Any]], work: Work, workers: int) -> Any:
    """Return the Ray dataset of what becomes of each row; nothing runs before it is read."""
    size = max(1, min(_BATCH, len(rows) // (workers * _BATCHES_PER_WORKER)))
    results = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
        Predictor,
        fn_constructor_kwargs={"model": ray.put(model.read_bytes()), "work": work},
        batch_size=None,
        batch_format="numpy",
        # A range and no fixed size, so that a cluster that has become smaller goes on with the actors it has room for.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=work.threads,
        num_gpus=work.gpus or None,
    )
    results.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return results


class _Run:
    """One run; leaving it writes the manifest, however it is left."""

    def __init__(
        self,
        entries: list[Entry],
        header: dict[str, Any],
        folder: OutputFolder,
        progress: Progress | None,
    ) -> None:
        self._header = header
        self._folder = folder
        self._progress = progress
        self._nodes: Counter[str] = Counter()
        self._providers: set[str] = set()
        self.manifest = Manifest(Path(MANIFEST_NAME), header, entries)

    def follow(self, results: Any) -> None:
        """Note what becomes of each input as a dataset of Ray is worked out.

        Raises
        ------
        SegtoolError
            What stopped an actor.
        """
        batches = iter(results.iter_batches(batch_size=None, batch_format="numpy"))
        with closing(batches):  # ends the actors at once, before the connection to the cluster is closed
            for batch in batches:
                self._note(batch)
                for kind, message in zip(batch["kind"], batch["error"], strict=True):
                    if kind:
                        raise _ERRORS[kind](message)

    def _note(self, batch: dict[str, Any]) -> None:
        entries = self.manifest.entries
        for index, text, node in zip(batch["index"], batch["entry"], batch["node"], strict=True):
            if text:
                entries[int(index)] = Entry(**json.loads(text))
                self._nodes[str(node)] += 1
        self._providers.update(filter(None, map(str, batch["provider"])))
        if self._progress is not None:
            self._progress(len(entries) - self.manifest.not_run, len(entries))

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.manifest.interrupted = error is not None or self.manifest.not_run > 0
        self._header |= {"provider": ", ".join(sorted(self._providers)), "nodes": dict(self._nodes)}
        if error is None:
            self._write()
            return
        # What stopped the run is the error to report, not that the manifest could not be written after it.
        with suppress(OutputWriteError):
            self._write()

    def _write(self) -> None:
        manifest = self.manifest.to_dict()
        self._folder.write([MANIFEST_NAME], lambda folder: write_json(folder / MANIFEST_NAME, manifest))
