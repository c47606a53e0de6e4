"""The requested outputs of one image, label map, pictures, probabilities, and its entry in the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segtool.array_types import FloatArray, IntegerArray
from segtool.contract import ModelContract
from segtool.files import sha256_of, write_with
from segtool.images.arrays import count_labels
from segtool.images.image_io import write_labels
from segtool.images.overlay import write_overlay
from segtool.images.pictures import write_color
from segtool.predict.manifest import Entry
from segtool.predict.naming import SUFFIXES
from segtool.runtime.sources import InputFacts
from segtool.runtime.stream import Result


def output_names(stem: str, kinds: Iterable[str]) -> dict[str, str]:
    """Return the outputs of an image by kind, relative to the output folder, with ``/`` as separator."""
    return {kind: stem + SUFFIXES[kind] for kind in kinds}


def stem_of(outputs: Mapping[str, str]) -> str | None:
    """Return the stem of existing outputs; None without outputs."""
    name = outputs.get("labels")
    return None if name is None else name.removesuffix(SUFFIXES["labels"])


def write_outputs(result: Result, outputs: Mapping[str, str], out: Path, contract: ModelContract) -> dict[str, str]:
    """Write the outputs of one image; return the SHA-256 of each by kind.

    Raises
    ------
    OutputWriteError
        One could not be written.
    """
    folder = os.fspath(out)
    return {
        kind: _write_output(kind, os.path.join(folder, name), result, contract)  # noqa: PTH118 (a third of the time)
        for kind, name in outputs.items()
    }


def entry_of(name: str, result: Result, contract: ModelContract, *, provider: str) -> Entry:
    """Return the entry of an image before its outputs are written, with the status "not run".

    Parameters
    ----------
    name
        The name of the input.
    result
        The result of the prediction.
    contract
        The contract of the model, for the class names.
    provider
        The execution provider that ran it.
    """
    entry = Entry(name, error=None if result.error is None else str(result.error), provider=provider)
    _add_facts(entry, result.facts)
    entry.seconds = round(result.seconds, 6)
    if result.labels is not None:
        entry.height, entry.width = result.labels.shape
        entry.pixels = _pixel_counts(result.labels, contract.class_names)
    return entry


def _add_facts(entry: Entry, facts: InputFacts | None) -> None:
    if facts is None:
        return
    entry.bytes, entry.mtime_ns, entry.sha256 = facts.bytes, facts.mtime_ns, facts.sha256
    entry.largest_value = facts.largest_value
    if facts.frames > 1:
        entry.note = f"first frame of {facts.frames}"


def _pixel_counts(labels: IntegerArray, names: Sequence[str]) -> dict[str, int]:
    """Return the number of pixels by class name, for the classes that occur in labels (H, W)."""
    counts = count_labels(labels, len(names))
    return {name: count for name, count in zip(names, counts.tolist(), strict=True) if count}


def _write_output(kind: str, target: str, result: Result, contract: ModelContract) -> str:
    """Write one kind of output and return its SHA-256; existing files were checked before the run."""
    palette, names, background = contract.palette, contract.class_names, contract.background_id
    if kind == "labels" and result.labels is not None:
        return write_labels(target, result.labels, palette)
    if kind == "color" and result.labels is not None:
        write_color(target, result.labels, palette)
    elif kind == "contours" and result.labels is not None:
        from segtool.predict.geojson import write_contours

        write_contours(target, result.labels, names, background_id=background)
    elif kind == "overlay" and result.image is not None and result.labels is not None:
        picture = (result.image, result.labels, palette)
        write_overlay(target, *picture, names=names, background_id=background)
    elif result.probabilities is not None:
        _write_probabilities(target, result.probabilities)
    return sha256_of(target)


def _write_probabilities(target: str, probabilities: FloatArray) -> None:
    write_with(target, lambda path: np.savez_compressed(path, probabilities=probabilities))
