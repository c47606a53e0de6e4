"""Compare a benchmark with an earlier one, to detect a slower model.

The two have different times and processes and cannot be interleaved. A case is slower or faster if the interval of the
ratio of its medians is beyond a band: the difference of a model to itself in both benchmarks
(`segtool.benchmark.latency.noise_of`), and at least the difference between processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from segtool.benchmark.statistics import Ratio
from segtool.errors import DataError, reason_of

LEAST_BAND = 0.10
"""Typical difference of the median of one file between runs, as a fraction: memory layout and host load vary.

Measured: six consecutive runs of the same two files on an otherwise idle virtual machine. Within a run, a model
differed from itself by at most 1.1 %; between runs, the medians differed by up to 5.5 % and 8.9 %.
"""

SCHEMA_VERSION = 1
"""The schema version of the files, which the command line writes into each JSON object."""

QUANTITIES = ("latency", "throughput")

_MACHINE = ("cpu", "architecture", "available_cpus", "cgroup_quota", "instruction_sets")
_KEYS = ("provider", "threads", "batch")

Row = Mapping[str, Any]


def read_benchmark(path: str | Path) -> dict[str, Any]:
    """Read a file of `segtool benchmark --out` (or `--json`).

    Raises
    ------
    DataError
        It cannot be read, is not a benchmark of this schema version, or has no times.
    """
    try:
        value: dict[str, Any] = json.loads(Path(path).read_bytes())
        is_other_version = value.get("schema_version") != SCHEMA_VERSION
        is_benchmark = value["command"] == "benchmark" and bool(is_other_version or _has_times(value))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({reason_of(error)}); expected a file of `segtool benchmark --out`."
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError):
        is_benchmark = False
    if not is_benchmark:
        raise DataError(
            f"{path} is not a benchmark with latencies or throughput; expected a file of `segtool benchmark --out`."
        )
    if is_other_version:
        raise DataError(
            f"{path} has the schema version {value.get('schema_version')!r}, but this segtool reads {SCHEMA_VERSION}; "
            "measure again with `--out`, or use the segtool that wrote it."
        )
    return value


def require_comparable(old: Row, machine: Row, rows: Sequence[Row], *, quantities: Sequence[str] = QUANTITIES) -> None:
    """Before a measurement, refuse a comparison with another machine or without a common case.

    Parameters
    ----------
    old
        The result of `read_benchmark`.
    machine
        The present result of `segtool.machine.machine.machine_info`.
    rows
        The planned cases: `path`, `provider`, `threads`, `batch`.
    quantities
        The planned ones of `QUANTITIES`.

    Raises
    ------
    DataError
        The machines differ, or there is no common case.
    """
    pairs = {key: (_words(old["machine"].get(key)), _words(machine.get(key))) for key in _MACHINE}
    different = [f"{key}: {then} then, {now} now" for key, (then, now) in pairs.items() if then != now]
    if different:
        raise DataError(
            f"The earlier benchmark is from another machine ({'; '.join(different)}), so a difference would not be "
            "due to the model; measure both on one machine."
        )
    before, now = _by_case(old["models"]), _by_case(rows)
    if not any(_time(before[case], quantity) for case in now if case in before for quantity in quantities):
        raise DataError(
            f"The earlier benchmark has none of these cases (it has {', '.join(map(_title, before))}; this one has "
            f"{', '.join(map(_title, now))}); measure the same file names, threads, batches and mode on the same "
            "provider."
        )


def compare(new: Row, old: Row) -> dict[str, Any]:
    """Compare two benchmarks of one machine (results of `segtool benchmark --json`) case by case.

    Returns
    -------
    dict
        `rows`: for each common case and each common `quantity` ("latency", "throughput"), the `ratio` of the new to
        the old time, its interval `low` to `high`, the `band`, and a `verdict`, see `judge`. `only_new`, `only_old`:
        cases without a counterpart.
    """
    before, now = _by_case(old["models"]), _by_case(new["models"])
    pairs = {case: _compare_case((now[case], new), (before[case], old)) for case in now if case in before}
    return {
        "rows": [row for rows in pairs.values() for row in rows],
        "only_new": [_title(case) for case in now if not pairs.get(case)],
        "only_old": [_title(case) for case in before if not pairs.get(case)],
    }


def judge(low: float, high: float, band: float) -> str:
    """Return the verdict on the interval of a ratio of times.

    "slower" or "faster" if the whole interval is beyond the band; "undecided" if it is not and the noise made the band
    wider than `LEAST_BAND`; otherwise "same".
    """
    if low > 1 + band:
        return "slower"
    if high < 1 / (1 + band):
        return "faster"
    return "same" if band <= LEAST_BAND else "undecided"


def _has_times(value: Row) -> bool:
    cases = [(quantity, row) for row in value["models"] for quantity in QUANTITIES]
    times = [time for quantity, row in cases if (time := _time(row, quantity)) and _band(quantity, row, value) >= 0]
    return bool(value["machine"] and times) and all(0 < n < math.inf for time in times for n in astuple(time))


def _compare_case(new: tuple[Row, Row], old: tuple[Row, Row]) -> list[dict[str, Any]]:
    """Compare the times that two cases, each with its benchmark, have in common."""
    found = []
    for quantity in QUANTITIES:
        time, then = _time(new[0], quantity), _time(old[0], quantity)
        if time is None or then is None:
            continue
        band = max(LEAST_BAND, _band(quantity, *new), _band(quantity, *old))
        low, high = time.low / then.high, time.high / then.low
        facts = {"ratio": time.median / then.median, "low": low, "high": high, "band": band}
        case = {key: new[0][key] for key in ("path", *_KEYS)}
        found.append({**case, "quantity": quantity, **facts, "verdict": judge(low, high, band)})
    return found


def _time(row: Row, quantity: str) -> Ratio | None:
    """Return the median time of a run (latency) or of an image (throughput) with its interval; None without it."""
    if quantity == "latency":
        times = row.get("latency_ms")
        return Ratio(times["p50"], times["p50_low"], times["p50_high"]) if times else None
    rate = (row.get("throughput") or {}).get("images_per_second")
    return Ratio(1 / rate["median"], 1 / rate["high"], 1 / rate["low"]) if rate else None


def _band(quantity: str, row: Row, result: Row) -> float:
    """Return the noise of a result, and for the throughput also that of the row, as a fraction."""
    noises = [result["noise"], row["throughput"] if quantity == "throughput" else None]
    return max((float(noise["band"]) for noise in noises if noise), default=0.0)


def _by_case(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Return the rows by case: the file name (the full path if names repeat) and the settings."""
    names = {row["path"]: Path(row["path"]).name for row in rows}
    whole = len(set(names.values())) < len(names)
    return {(row["path"] if whole else names[row["path"]], *(row[key] for key in _KEYS)): row for row in rows}


def _title(case: Sequence[Any]) -> str:
    name, provider, threads, batch = case
    return f"{name} ({provider.removesuffix('ExecutionProvider')}, threads {threads}, batch {batch})"


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
