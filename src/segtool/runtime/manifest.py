"""The manifest of a prediction: what became of every input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "failed", "not run"]

SCHEMA_VERSION = 1


@dataclass
class Entry:
    """What became of one input.

    Attributes
    ----------
    input
        The file, or the argument that named none.
    status
        "done", "failed", or "not run" where the run was stopped before it.
    outputs
        The files that were written, by kind, relative to the manifest.
    error
        Why it failed.
    height, width
        Size of the label map in pixels.
    seconds
        Time from opening the file to its labels.
    pixels
        Number of pixels by class name, of the classes that occur.
    """

    input: str
    status: Status = "not run"
    outputs: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    height: int | None = None
    width: int | None = None
    seconds: float | None = None
    pixels: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the input, in plain Python types."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class Manifest:
    """What became of every input of a prediction.

    Attributes
    ----------
    path
        The JSON file that holds it.
    header
        When, with what model and with which options.
    entries
        One per input.
    interrupted
        Whether the run was stopped before its end.
    """

    path: Path
    header: Mapping[str, Any]
    entries: list[Entry]
    interrupted: bool = False

    @property
    def done(self) -> int:
        """Number of inputs that were predicted and written."""
        return self._count("done")

    @property
    def failed(self) -> int:
        """Number of inputs that could not be."""
        return self._count("failed")

    @property
    def not_run(self) -> int:
        """Number of inputs that an interruption left."""
        return self._count("not run")

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as it stands in its file."""
        return {
            "schema_version": SCHEMA_VERSION,
            "status": "interrupted" if self.interrupted else "complete",
            "counts": {"done": self.done, "failed": self.failed, "not_run": self.not_run},
            **self.header,
            "entries": [entry.to_dict() for entry in self.entries],
        }

    def _count(self, status: Status) -> int:
        return sum(entry.status == status for entry in self.entries)
