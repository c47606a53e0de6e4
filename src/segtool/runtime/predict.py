"""Predicting many files: label maps, pictures of them, and a manifest that says what became of each input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segtool import __version__
from segtool.errors import DataError, OutputWriteError
from segtool.files import refuse_existing, write_json
from segtool.runtime.decoding import MAX_PIXELS
from segtool.runtime.manifest import Entry, Manifest
from segtool.runtime.naming import SUFFIXES, find_sources, output_stems
from segtool.runtime.outputs import output_names, pixel_counts, write_outputs
from segtool.runtime.segmenter import Segmenter
from segtool.runtime.stream import Result
from segtool.runtime.tiling import TileOption, uses_tiles

__all__ = ["MANIFEST_NAME", "Entry", "Manifest", "PredictOptions", "predict_paths"]

MANIFEST_NAME = "manifest.json"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What `predict_paths` writes, and how.

    Attributes
    ----------
    out
        The folder of the outputs; made where it is missing.
    overlay, color, probabilities
        Besides the label map ``<stem>.png`` write ``<stem>.overlay.png`` (its classes over the image),
        ``<stem>.color.png`` (its classes alone) and ``<stem>.probabilities.npz`` (an array `probabilities`,
        float32 (H, W, K)).
    tile
        What is done with images larger than the model, as in `Segmenter`.
    max_pixels
        Images of more pixels are failed entries of the manifest.
    workers
        Threads that read and predict; None for one more than the processors.
    overwrite
        Replace outputs that are there.
    """

    out: Path
    overlay: bool = False
    color: bool = False
    probabilities: bool = False
    tile: TileOption = "auto"
    max_pixels: int = MAX_PIXELS
    workers: int | None = None
    overwrite: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of output that are written, of those in `SUFFIXES`."""
        asked = {"labels": True, "overlay": self.overlay, "color": self.color, "probabilities": self.probabilities}
        return tuple(kind for kind in SUFFIXES if asked[kind])


@dataclass(frozen=True)
class _Job:
    """One image, its manifest entry, and the outputs to write, by kind, relative to the output folder."""

    path: Path
    entry: Entry
    outputs: dict[str, str]


def predict_paths(
    segmenter: Segmenter, inputs: Sequence[str], *, options: PredictOptions, progress: Progress | None = None
) -> Manifest:
    """Predict files, folders and patterns, and write what the options ask for.

    Outputs are named by `segtool.runtime.naming.output_stems`. An input that is missing or cannot be read is a
    failed entry of the manifest, and the others are done. The manifest is written last, also after an
    interruption (Ctrl-C).

    Parameters
    ----------
    segmenter
        The model.
    inputs
        Files, folders (searched below) and patterns.
    options
        What to write, and where.
    progress
        Called with (inputs dealt with, inputs in all) after each.

    Raises
    ------
    DataError
        No input names anything, an output would replace an input, or the tile size does not fit the model.
    ModelFileError
        Probabilities were asked for and the model gives none.
    OutputExistsError
        An output or the manifest is there already; then nothing has been run.
    OutputWriteError
        An output could not be written.
    """
    sources, missing = find_sources(inputs, out=options.out)
    if options.probabilities:
        segmenter.require_probabilities()
    uses_tiles(segmenter.contract, segmenter.input_size, options.tile)  # refuses a tile size that does not fit
    stems = output_stems(sources)
    jobs = [_plan(source.path, stem, options.kinds) for source, stem in zip(sources, stems, strict=True)]
    entries = [job.entry for job in jobs] + [missing_entry(text) for text in missing]
    manifest = Manifest(options.out / MANIFEST_NAME, run_header(segmenter, options), entries)
    _refuse_outputs(jobs, options)
    _run(segmenter, jobs, manifest, options=options, progress=progress)
    return manifest


def _plan(path: Path, stem: Path, kinds: Sequence[str]) -> _Job:
    return _Job(path, Entry(str(path)), output_names(stem, kinds))


def missing_entry(text: str) -> Entry:
    """Return the failed entry of an argument that names nothing."""
    error = f"{text} does not exist; expected an image file, a folder of them, or a pattern that matches some."
    return Entry(text, status="failed", error=error)


def run_header(segmenter: Segmenter, options: PredictOptions) -> dict[str, Any]:
    """Return what a manifest says of a run: when, with what model and with which options."""
    return {
        "segtool_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": str(segmenter.path),
        "provider": segmenter.provider,
        "threads": segmenter.threads,
        "precision": segmenter.contract.precision,
        "tile": "x".join(map(str, options.tile)) if isinstance(options.tile, tuple) else options.tile,
        "class_names": list(segmenter.contract.class_names),
    }


def _refuse_outputs(jobs: Sequence[_Job], options: PredictOptions) -> None:
    """Refuse, before anything runs, outputs that are there and outputs that are also inputs."""
    inputs = {job.path.resolve() for job in jobs}
    outputs = [options.out / name for job in jobs for name in job.outputs.values()]
    for target in (*outputs, options.out / MANIFEST_NAME):
        if target.resolve() in inputs:
            raise DataError(f"The output {target} would replace an input; choose another folder with --out.")
        refuse_existing(target, overwrite=options.overwrite)


def _run(
    segmenter: Segmenter,
    jobs: Sequence[_Job],
    manifest: Manifest,
    *,
    options: PredictOptions,
    progress: Progress | None,
) -> None:
    """Run every job, and leave the manifest on disk however that ends."""
    try:
        _work_through(segmenter, jobs, manifest, options=options, progress=progress)
    except BaseException:
        manifest.interrupted = True
        # What stopped the run is the error to report, not that the manifest could not be written after it.
        with suppress(OutputWriteError):
            write_json(manifest.path, manifest.to_dict())
        raise
    write_json(manifest.path, manifest.to_dict())


def _work_through(
    segmenter: Segmenter,
    jobs: Sequence[_Job],
    manifest: Manifest,
    *,
    options: PredictOptions,
    progress: Progress | None,
) -> None:
    total = len(manifest.entries)
    results = segmenter.stream(
        [job.path for job in jobs],
        workers=options.workers,
        tile=options.tile,
        probabilities=options.probabilities,
        keep_images=options.overlay,
        max_pixels=options.max_pixels,
    )
    with closing(results):  # stops the threads at once when an output cannot be written
        for result in results:
            _finish(segmenter, jobs[result.index], result, options.out)
            if progress is not None:
                progress(total - manifest.not_run, total)


def _finish(segmenter: Segmenter, job: _Job, result: Result, out: Path) -> None:
    """Write the outputs of one result and fill in its entry."""
    entry = job.entry
    if result.labels is None:
        entry.status, entry.error = "failed", str(result.error)
        return
    write_outputs(result, job.outputs, out, segmenter.contract)
    entry.outputs = job.outputs
    entry.height, entry.width = result.labels.shape
    entry.seconds = round(result.seconds, 6)
    entry.pixels = pixel_counts(result.labels, segmenter.contract.class_names)
    entry.status = "done"
