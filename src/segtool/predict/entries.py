"""Manifest entries of images that were processed, locally or on a cluster."""

from __future__ import annotations

import logging

from segtool.contract import ModelContract
from segtool.images.pixels import range_used, sensor_bits
from segtool.predict.manifest import Entry
from segtool.predict.outputs import pixel_counts
from segtool.runtime.sources import InputFacts
from segtool.runtime.stream import Result
from segtool.text import counted

logger = logging.getLogger(__name__)


class WideImages:
    """The 16-bit images of a run: their number, and the largest value in any of them."""

    def __init__(self) -> None:
        self._count = self._largest = 0

    def add(self, entry: Entry) -> None:
        """Count an image, if it has 16 bits."""
        if entry.largest_value is not None:
            self._count += 1
            self._largest = max(self._largest, entry.largest_value)

    def warn(self) -> None:
        """Warn if all of them use a small part of the range, as `data check` does."""
        bits = sensor_bits(self._largest)
        if self._count and bits is not None:
            logger.warning(
                "%s of 16 bits %s %s of the range: the largest value is %d, as in data of %d bits, so the model saw %d "
                "of 256 levels. This is right only if it was trained on such files; otherwise scale them to 0..65535. "
                "`segtool data check` on a folder with images and masks prints the command.",
                counted(self._count, "image"),
                "uses" if self._count == 1 else "use",
                range_used(bits),
                self._largest,
                bits,
                self._largest // 257 + 1,
            )


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
    entry.largest_value = facts.largest_value
    if facts.frames > 1:
        entry.note = f"first frame of {facts.frames}"
