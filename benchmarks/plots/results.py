"""Reading results/*.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"


def read(name: str) -> dict[str, Any]:
    """Return results/NAME.json."""
    value: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return value


def processor(machine: Mapping[str, Any]) -> str:
    """Return which processor a result is of; clouds call all of a kind by one name, so with its INT8 instructions."""
    found = [name for name in machine["instruction_sets"] if "vnni" in name or name in ("amx_int8", "asimddp", "i8mm")]
    found = found or [name for name in machine["instruction_sets"] if name == "avx2"]
    return f"{machine['cpu']}, {' and '.join(found)}" if found else str(machine["cpu"])


def interval(value: Mapping[str, float], digits: int = 2) -> str:
    """Return a median with its interval as text."""
    return f"{value['median']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"
