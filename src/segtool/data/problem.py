"""One thing that is wrong with a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segtool.errors import DataError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Attributes
    ----------
    kind
        "missing", "ambiguous", "unreadable", "lossy", "size", "orientation", "pages", "range", "alpha", "values",
        "class", "duplicate", "parts", "unlabelled", "unread" or "arrays".
    sample
        The name of the sample, the class or the data set that it concerns; of several samples the first.
    message
        One sentence: what was found, what was expected, what to do.
    samples
        All samples that it concerns, where those are several.
    command
        The command line that helps, where there is one.
    warning
        Whether the data are used all the same, with the message as a warning.
    """

    kind: str
    sample: str
    message: str
    samples: tuple[str, ...] = ()
    warning: bool = False
    command: str = ""


def refuse(problems: Sequence[Problem], *, spec: str) -> None:
    """Raise the first of `problems` that is no warning, with the number of the others.

    Raises
    ------
    DataError
        There is at least one.
    """
    problems = [problem for problem in problems if not problem.warning]
    if not problems:
        return
    more = f" ({len(problems) - 1} more of this; `segtool data check {spec}` lists all.)" if len(problems) > 1 else ""
    raise DataError(problems[0].message + more)
