"""Predicting many files: label maps, pictures of them, and a manifest that says what became of each input."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.predict.journal import open_journal
from segtool.predict.manifest import MANIFEST_NAME, Entry, Manifest
from segtool.predict.missing import shown, why_missing
from segtool.predict.naming import Namer, common_folder, find_sources
from segtool.predict.predict_options import PredictOptions
from segtool.predict.predict_run import PredictRun, Progress, Stop
from segtool.predict.resume import refuse_earlier, run_header, take_up
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.tiling import uses_tiles

__all__ = ["MANIFEST_NAME", "Entry", "Manifest", "PredictOptions", "predict_paths"]


def predict_paths(
    segmenter: Segmenter,
    inputs: Sequence[str],
    *,
    options: PredictOptions,
    progress: Progress | None = None,
    stop: Stop = lambda: False,
) -> Manifest:
    """Predict files, folders, patterns and .npy stacks, and write what the options ask for.

    Outputs are named by `segtool.predict.naming.Namer`. An input that is missing or cannot be read is a failed entry
    of the manifest, and the others are done. The manifest is written last, also after an interruption (Ctrl-C);
    until it is complete a journal lies beside it, from which a run with `options.resume` goes on.

    Parameters
    ----------
    segmenter
        The model.
    inputs
        Files, folders (searched below for images, not for .npy files), patterns and .npy files.
    options
        What to write, and where.
    progress
        Called with (inputs dealt with, inputs in all) after each.
    stop
        Asked before each image; once it returns true none is begun, those in work are finished, and the rest are
        "not run" in the manifest.

    Raises
    ------
    DataError
        No input names anything, an output would replace an input, or the tile size does not fit the model.
    ModelFileError
        Probabilities were asked for and the model gives none.
    OutputExistsError
        An output or the manifest is there already, or what is to be resumed had another model or other options; then
        nothing has been run.
    OutputWriteError
        An output could not be written, or another process is writing into the folder.
    """
    sources, missing = find_sources(inputs, out=options.out)
    check_options(segmenter, options)
    header = run_header(segmenter, options)
    with open_journal(options.out) as journal:
        take_up(journal, header, options)
        with PredictRun(segmenter, options, journal, stop=stop, progress=progress) as run:
            jobs = run.plan(sources, Namer(common_folder({source.folder for source in sources})))
            run.refuse_outputs(jobs, sources)
            run.begin(header, jobs)
            for text in missing:
                run.fail(missing_entry(text))
            run.work_through(jobs)
    return run.manifest


def check_options(segmenter: Segmenter, options: PredictOptions) -> None:
    """Refuse, before anything runs, what the model cannot do and what may not be replaced.

    Raises
    ------
    DataError, ModelFileError, OutputExistsError
        As in `predict_paths`.
    """
    if options.probabilities:
        segmenter.require_probabilities()
    uses_tiles(segmenter.contract, segmenter.input_size, options.tile)  # refuses a tile size that does not fit
    refuse_earlier(options)


def missing_entry(text: str) -> Entry:
    """Return the failed entry of an argument that names nothing."""
    expected = "expected an image file, a folder of them, or a pattern that matches some"
    return Entry(text, status="failed", error=f"{shown(text)} {why_missing(text)}; {expected}.")
