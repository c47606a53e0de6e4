"""Manifest entries of images that were processed, locally or on a cluster."""

from __future__ import annotations

from segtool.contract import ModelContract
from segtool.predict.manifest import Entry
from segtool.predict.outputs import pixel_counts
from segtool.runtime.sources import InputFacts
from segtool.runtime.stream import Result


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
        entry.pixels = pixel_counts(result.labels, contract.class_names)
    return entry


def _add_facts(entry: Entry, facts: InputFacts | None) -> None:
    if facts is None:
        return
    entry.bytes, entry.mtime_ns, entry.sha256 = facts.bytes, facts.mtime_ns, facts.sha256
    if facts.frames > 1:
        entry.note = f"first frame of {facts.frames}"
