"""Predicting many images on a Ray cluster: Ray Data schedules, retries and copes with lost nodes; we predict, write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtool.files import remove_unfinished
from segtool.predict.journal import Journal, open_journal
from segtool.predict.manifest import MANIFEST_NAME, Entry
from segtool.predict.outputs import output_names
from segtool.predict.predict import check_options, missing_entry
from segtool.predict.predict_options import PredictOptions
from segtool.predict.ray_engine.cluster import ClusterOptions, connected, count_workers, sentences
from segtool.predict.ray_engine.inputs import Input, find_inputs
from segtool.predict.ray_engine.outputs import OutputFolder, open_output, refuse_outputs, with_scratch
from segtool.predict.ray_engine.record import Record
from segtool.predict.ray_engine.worker import Predictor, Work, to_rows
from segtool.predict.resume import run_header
from segtool.runtime.segmenter import load

Progress = Callable[[int, int], None]

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

    Files are those of `segtool.predict.predict.predict_paths`, bit for bit. What a lost node had in work is done again
    on another one by Ray. The manifest is written last, also after an interruption (Ctrl-C); a run into a folder that
    did not end can be completed by `predict_paths` with `resume`.

    Parameters
    ----------
    model
        The .onnx file; its bytes are sent to the nodes.
    inputs
        Files, folders (searched below), patterns and URLs of fsspec; paths are opened on the nodes.
    out
        A folder that all nodes share, or a URL.
    options
        What to write; `out`, `workers` and `resume` in it are not used.
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
        An output, the manifest or the journal of a run that is not complete is there; then nothing has been run.
    OutputWriteError
        An output could not be written.
    ProviderError
        There is no cluster, it has no room for an actor, or the provider does not start there.
    """
    folder = open_output(out)
    options = replace(options, out=Path(folder.name), resume=False)
    found, missing = find_inputs(inputs, out=folder.name)
    header = _header(model, folder, options, cluster)
    names = [name for one in found for name in output_names(one.stem, options.kinds).values()]
    with _journal(folder) as journal:
        refuse_outputs(folder, [*names, MANIFEST_NAME], [one.place for one in found], overwrite=options.overwrite)
        with connected(cluster) as ray:
            workers = count_workers(ray, cluster)
            header |= {"ray_version": ray.__version__, "workers": workers}
            with with_scratch(folder) as shared, Record(shared, header, journal, progress) as record, sentences(ray):
                _begin(record, found, missing, options)
                rows, systems = to_rows(found)
                work = Work(shared, options, cluster, systems)
                record.follow(_dataset(ray, model, rows, work, workers))
    return record.manifest


def _header(model: Path, folder: OutputFolder, options: PredictOptions, cluster: ClusterOptions) -> dict[str, Any]:
    """Open the model here, refuse what it cannot do, and return what the manifest says of the run."""
    segmenter = load(model, provider="cpu", threads=cluster.threads)
    # At a URL nothing is there by this name; what is there is refused with the outputs.
    check_options(segmenter, options if isinstance(folder.place, Path) else replace(options, overwrite=True))
    return {**run_header(segmenter, options), "engine": "ray"}


@contextmanager
def _journal(folder: OutputFolder) -> Iterator[Journal | None]:
    """Hold the journal of a folder, so that no other run writes there; a URL has none."""
    if not isinstance(folder.place, Path):
        yield None
        return
    with open_journal(folder.place) as journal:
        yield journal


def _begin(record: Record, found: Sequence[Input], missing: Sequence[str], options: PredictOptions) -> None:
    """Note all inputs, those that are missing as failed; what killed runs left unfinished in a folder is gone."""
    planned = [Entry(one.name, "writing", output_names(one.stem, options.kinds)) for one in found]
    record.begin(planned)
    if record.is_local:
        outputs = (options.out / name for entry in planned for name in entry.outputs.values())
        remove_unfinished({options.out, *(target.parent for target in outputs)})
    for text in missing:
        record.add(missing_entry(text))


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
        num_cpus=work.cluster.threads,
        num_gpus=work.cluster.gpus or None,
    )
    results.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return results
