"""One bad input, and the folder that it is tried in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bad.arrays import good_npz
from bad.images import grey
from bad.models import model


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes
    ----------
    what
        What is wrong.
    arguments
        Of segtool.
    code
        The exit code that is right.
    words
        What the sentence must hold.
    make
        Writes the bad input into the current folder.
    """

    what: str
    arguments: tuple[str, ...]
    code: int
    words: str
    make: Callable[[], object] = lambda: None


def prepare() -> None:
    """Write what is good into the current folder."""
    grey(3).save("good.png")
    Path("good.npz").write_bytes(good_npz())
    Path("model.onnx").write_bytes(model())


def write(name: str, data: Callable[[], bytes]) -> Callable[[], object]:
    def make() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data())

    return make
