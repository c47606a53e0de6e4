"""Predict many files: write label maps, pictures of them, and a manifest with the status of each input."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.predict.finding import find_sources, missing_entry
from segtool.predict.jobs import Stop
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest
from segtool.predict.naming import Namer
from segtool.predict.predict_options import PredictOptions
from segtool.predict.predict_run import Progress, open_run
from segtool.runtime.segmenter import Segmenter

__all__ = ["MANIFEST_NAME", "Entry", "Manifest", "PredictOptions", "predict_paths"]


def predict_paths(
    segmenter: Segmenter,
    inputs: Sequence[str],
    *,
    options: PredictOptions,
    progress: Progress | None = None,
    stop: Stop = lambda: False,
) -> Manifest:
    """Predict files, folders, patterns and .npy stacks, and write the requested outputs.

    Outputs are named by `segtool.predict.naming.Namer`. A missing or unreadable input is a failed entry of the
    manifest and does not stop the others. The manifest is written last, also after an interruption (Ctrl-C). Until
    then a journal lies beside it, from which a run with `options.resume` continues.

    Parameters
    ----------
    segmenter
        The model.
    inputs
        Files, folders (searched recursively for images, not for .npy files), patterns and .npy files.
    options
        What to write, and where.
    progress
        Called with (processed inputs, all inputs) after each input.
    stop
        Called before each image. Once it returns true, no image is started, images in progress are finished, and the
        others are "not run" in the manifest.

    Raises
    ------
    DataError
        No input matches anything, an output would replace an input, or the tile size does not fit the model.
    ModelFileError
        Probabilities were requested, and the model has none.
    OutputExistsError
        An output or the manifest exists, or the run to resume had another model or other options. Nothing was run.
    OutputWriteError
        An output could not be written, or another process is writing into the folder.
    """
    sources, missing = find_sources(inputs, out=options.out)
    with open_run(segmenter, options, stop=stop, progress=progress) as run:
        jobs = run.plan(sources, Namer(source.folder for source in sources))
        run.refuse_outputs(jobs)
        run.begin()
        for text in missing:
            run.fail(missing_entry(text))
        run.work_through(jobs)
    return run.manifest
