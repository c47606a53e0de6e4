"""One thing that is wrong with a data set."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segtool.errors import DataError
from segtool.text import some

_PLURALS = {"has": "have", "is": "are", "holds": "hold"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set."""

    kind: str  # "missing", "size", "values", "class", ...: groups the problems in a report
    sample: str  # the name of the sample, the class or the data set; of several samples the first
    message: str  # one sentence: what was found, what was expected, what to do
    samples: tuple[str, ...] = ()  # all samples, if there are several
    warning: bool = False  # whether the data are used nevertheless, with the message as a warning
    command: str = ""  # a command line that helps

    @classmethod
    def of(cls, kind: str, samples: Sequence[str], message: str, *, warning: bool = False) -> Problem:
        """Return one problem of one sample or several."""
        return cls(kind, samples[0], message, tuple(samples) if len(samples) > 1 else (), warning)


def refuse(problems: Sequence[Problem], *, spec: str) -> None:
    """Raise a DataError with the first of `problems` that is no warning, and the number of the others."""
    problems = [problem for problem in problems if not problem.warning]
    if problems:
        more = f" ({len(problems) - 1} more of this; `segtool data check {spec}` lists all.)"
        raise DataError(problems[0].message + (more if len(problems) > 1 else ""))


def these(what: str, paths: Sequence[Path], verb: str) -> str:
    """Return the start of a sentence on files: "The mask m/a.png has", or "2 masks (m/a.png, b.png) have"."""
    if len(paths) == 1:
        return f"The {what} {paths[0]} {verb}"
    return f"{len(paths)} {what}s ({some([str(paths[0]), *paths[1:]])}) {_PLURALS[verb]}"


def files_like(paths: Sequence[Path]) -> str:
    """Return patterns for a shell: all files beside these that have their suffixes."""
    return " ".join(dict.fromkeys(f"{shlex.quote(str(path.parent))}/*{path.suffix}" for path in paths))
