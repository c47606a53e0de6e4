"""Masks with the same fault, reported in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segtool.data.classes import Encoding
from segtool.data.mask_files import ColorMaskError
from segtool.data.problem import Problem

_TOLD_APART = 8  # values: masks with more of them that stand for no class are one group, whatever they hold


@dataclass
class _Group:
    """Masks with one fault: `found` is what is wrong with the first, from "The mask x holds" (or "is") on."""

    kind: str
    verbs: tuple[str, str]
    found: str
    first: str
    samples: list[str] = field(default_factory=list)

    def problem(self) -> Problem:
        if len(self.samples) == 1:
            return Problem(self.kind, self.samples[0], f"The mask {self.first} {self.verbs[0]} {self.found}.")
        message = f"{len(self.samples)} masks {self.verbs[1]} {self.found}; the first is {self.first}."
        return Problem(self.kind, self.samples[0], message, tuple(self.samples))


class FaultyMasks:
    """The masks of a data set that cannot be taken as labels, by what is wrong with them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, ...] | str, _Group] = {}

    def add_unknown(self, sample: str, mask: str, encoding: Encoding, unknown: npt.NDArray[np.int64]) -> None:
        """Note a mask that holds raw values which stand for no class."""
        few = len(unknown) <= _TOLD_APART
        key = tuple(unknown.tolist()) if few else "many"
        found = encoding.refusal(unknown)
        verbs = ("holds", "hold" if few else "hold more values than their classes, such as")
        self._add(key, _Group("values", verbs, found, mask), sample)

    def add_colored(self, sample: str, mask: str, error: ColorMaskError) -> None:
        """Note a mask that is in colour where the classes are values."""
        self._add("colored", _Group("values", ("is", "are"), error.found, mask), sample)

    def problems(self) -> list[Problem]:
        """Return one problem for each group, in the order in which they were met."""
        return [group.problem() for group in self._groups.values()]

    def _add(self, key: tuple[int, ...] | str, group: _Group, sample: str) -> None:
        self._groups.setdefault(key, group).samples.append(sample)
