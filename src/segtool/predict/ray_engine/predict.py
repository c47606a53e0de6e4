"""Prediction of many images on a Ray cluster: Ray Data schedules and retries, segtool reads, predicts and writes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.predict.finding import missing_entry
from segtool.predict.jobs import Job
from segtool.predict.manifest import MANIFEST_NAME, Manifest
from segtool.predict.outputs import output_names
from segtool.predict.predict_options import PredictOptions
from segtool.predict.predict_run import PredictRun, Progress, open_run
from segtool.predict.ray_engine.cluster import ClusterOptions, connected, count_workers
from segtool.predict.ray_engine.inputs import Input, find_inputs
from segtool.predict.ray_engine.outputs import open_output
from segtool.predict.ray_engine.worker import BatchResult, SegmenterActor
from segtool.runtime.opening import load
from segtool.runtime.sources import Source

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
) -> Manifest:
    """Predict files, folders, patterns and URLs on a Ray cluster, and write the requested outputs.

    The files are bit-identical to those of `segtool.predict.predict.predict_paths`. Ray repeats the batches of a lost
    node on another one. The manifest is written last, also after an interruption (Ctrl-C). `predict_paths` with
    `resume` completes an unfinished run in a folder.

    Parameters
    ----------
    inputs
        Files, folders (searched recursively), patterns and URLs of fsspec; paths are opened on the nodes.
    out
        A folder that all nodes share, or a URL.
    options
        What to write; `out`, `workers` and `resume` in it are not used.
    progress
        Called with (finished inputs, all inputs) after each input.

    Raises
    ------
    MissingExtraError
        Ray, fsspec or a package for a protocol is not installed.
    ProviderError
        There is no cluster, no actor fits on it, or the provider does not start there.
    SegtoolError
        As in `predict_paths`.
    """
    folder = open_output(out)
    found, missing = find_inputs(inputs, out=folder.place)
    segmenter = load(model, provider="cpu", threads=cluster.threads)
    with folder.records() as here:
        options = replace(options, out=here, resume=False)
        with open_run(segmenter, options, progress=progress) as run:
            jobs = {
                one.name: run.add(one.place if isinstance(one.place, Source) else Source(one.name, ""), one.stem)
                for one in found
            }
            run.refuse_outputs(jobs.values())
            names = [name for one in found for name in output_names(one.stem, options.kinds).values()]
            folder.refuse_remote([*names, MANIFEST_NAME], [one.place for one in found], overwrite=options.overwrite)
            with connected(cluster) as ray, ExitStack() as stack:
                workers = count_workers(ray, cluster)
                run.begin(engine="ray", provider="", nodes={}, ray_version=ray.__version__, workers=workers)
                shared = stack.enter_context(folder.with_scratch())  # after `begin`, which removes those of killed runs
                actor = {
                    "model": ray.put(model.read_bytes()),
                    "out": shared,
                    "options": options,
                    "cluster": cluster,
                    "version": __version__,
                }
                for job in jobs.values():  # from here on, their outputs may exist
                    run.expect(job)
                for text in missing:
                    run.fail(missing_entry(text))
                with closing(_batches(ray, found, actor=actor, cluster=cluster, workers=workers)) as batches:
                    _collect(run, jobs, chain.from_iterable(batch["outcome"] for batch in batches))
    return run.manifest


def _batches(
    ray: Any, inputs: Sequence[Input], *, actor: Mapping[str, Any], cluster: ClusterOptions, workers: int
) -> Any:
    """Return an iterator over batches of outcomes from a pool of actors; closing it ends them at once."""
    size = max(1, min(_BATCH, len(inputs) // (workers * _BATCHES_PER_WORKER)))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"input": one} for one in inputs]
    results = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
        SegmenterActor,
        fn_constructor_kwargs=actor,
        batch_size=None,
        batch_format="numpy",
        # A range, not a fixed size: a cluster that lost a node continues with the actors that fit.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=cluster.threads,
        num_gpus=cluster.gpus or None,
    )
    results.context.enable_progress_bars = False
    return iter(results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))


def _collect(run: PredictRun, jobs: Mapping[str, Job], outcomes: Iterable[BatchResult]) -> None:
    """Record the results of batches and the nodes that ran them; raise the error that stopped the run."""
    nodes: Counter[str] = Counter()
    providers: set[str] = set()
    for outcome in outcomes:
        for entry in outcome.entries:
            run.record(jobs[entry.input], entry)
        nodes[outcome.node] += len(outcome.entries)
        providers.update(entry.provider for entry in outcome.entries if entry.provider)
        run.manifest.header |= {**outcome.provider, "provider": ", ".join(sorted(providers)), "nodes": dict(+nodes)}
        if outcome.error is not None:
            raise outcome.error
