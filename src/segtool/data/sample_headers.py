"""Samples with the headers of their files, and one problem for all that have the same fault."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.data.headers import Header, read_header
from segtool.data.listing import Sample
from segtool.data.problem import Problem


@dataclass(frozen=True)
class Pair:
    """A sample with the headers of its two files."""

    sample: Sample
    image: Header
    mask: Header


def read_pair(sample: Sample) -> Pair:
    """Read the headers of a sample's two files.

    Raises
    ------
    DataError
        One of them is missing, empty or no image.
    """
    return Pair(sample, read_header(sample.image), read_header(sample.mask))


def grouped(kind: str, group: Sequence[Pair], message: str, *, warning: bool = False) -> Problem:
    """Return one problem of several samples."""
    names = tuple(pair.sample.name for pair in group)
    return Problem(kind, names[0], message, names if len(names) > 1 else (), warning)


def has_or_have(group: Sequence[Pair]) -> str:
    """Return the verb that goes with the number of samples."""
    return "has" if len(group) == 1 else "have"


def files_like(paths: Sequence[Path]) -> str:
    """Return patterns for a shell: all files beside these that have their suffixes."""
    return " ".join(dict.fromkeys(f"{shlex.quote(str(path.parent))}/*{path.suffix}" for path in paths))
