"""Compare a measurement with an earlier one, to detect a slower model, with a band for noise.

The two measurements have different times and processes and cannot be interleaved. Therefore the band covers the
difference of a model to itself (`segtool.benchmark.noise`) in both, and at least the difference between processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtool.benchmark.noise import NOISE_LIMIT
from segtool.errors import DataError

LEAST_BAND = 0.10
"""Typical difference of the median of one file between runs, as a fraction: memory layout and host load vary.

Measured: six consecutive runs of the same two files on an otherwise idle virtual machine. Within a run, a model
differed from itself by at most 1.1 %; between runs, the medians differed by up to 5.5 % and 8.9 %.
"""

SCHEMA_VERSION = 1
"""The schema version of the files, which the command line writes into each JSON object."""

_MACHINE = ("cpu", "architecture", "available_cpus", "cgroup_quota", "instruction_sets")
_QUANTITIES = ("latency_ms", "throughput")
_KEYS = ("provider", "threads", "batch")

Row = Mapping[str, Any]


def read_benchmark(path: str | Path) -> dict[str, Any]:
    """Read a file of `segtool benchmark --out` (or `--json`).

    Raises
    ------
    DataError
        It cannot be read, or is not a benchmark.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a file of `segtool benchmark --out`.") from error
    if not _is_benchmark(value):
        raise DataError(f"{path} is not a benchmark; expected a file of `segtool benchmark --out`.")
    _refuse_other_version(path, value.get("schema_version"))
    if not any(map(_times, value["models"])):
        raise DataError(f"{path} is a benchmark without latencies and throughput; measure again with `--out`.")
    return dict(value)


def _refuse_other_version(path: str | Path, version: object) -> None:
    if version == SCHEMA_VERSION:
        return
    newer = isinstance(version, int) and version > SCHEMA_VERSION
    raise DataError(
        f"{path} has the schema version {version!r}, but this segtool reads {SCHEMA_VERSION}; "
        f"{'upgrade segtool, or ' if newer else ''}measure again with `--out`."
    )


def require_comparable(old: Row, machine: Row, providers: Sequence[str]) -> None:
    """Refuse to compare with another machine or provider.

    Parameters
    ----------
    old
        The result of `read_benchmark`.
    machine
        The present result of `segtool.machine.machine.machine_info`.
    providers
        The present providers.

    Raises
    ------
    DataError
        The machines differ, or a present provider is missing in the earlier benchmark.
    """
    different = machine_differences(old["machine"], machine)
    if different:
        raise DataError(
            f"The earlier benchmark is from another machine ({'; '.join(different)}), so a difference would not be "
            "due to the model; measure both on one machine, or pass --compare-anyway."
        )
    before = {row["provider"] for row in old["models"]}
    if new := [name for name in dict.fromkeys(providers) if name not in before]:
        raise DataError(
            f"The earlier benchmark ran on {', '.join(sorted(before))} and this one on {', '.join(new)}, so a "
            "difference would not be due to the model; use the same --provider, or pass --compare-anyway."
        )


def require_shared_case(old: Row, rows: Sequence[Row], *, anyway: bool = False) -> None:
    """Before the measurement, refuse two benchmarks without a common case.

    Parameters
    ----------
    old
        The result of `read_benchmark`.
    rows
        The planned cases: `path`, `provider`, `threads`, `batch`, and as keys "latency_ms", "throughput" or both.
    anyway
        As in `compare`.

    Raises
    ------
    DataError
        There is no common case.
    """
    before, now = _by_case(old["models"], anyway=anyway), _by_case(rows, anyway=anyway)
    if any(before[case].get(key) and key in now[case] for case in now if case in before for key in _QUANTITIES):
        return
    raise DataError(
        f"The earlier benchmark has none of these cases (it has {_list(before)}; this one has {_list(now)}); "
        "measure the same file names, threads, batches and mode."
    )


def machine_differences(old: Row, new: Row) -> list[str]:
    """Return texts with the differences of two machines that affect the speed of a model."""
    return [
        f"{key}: {_words(old.get(key))} then, {_words(new.get(key))} now"
        for key in _MACHINE
        if old.get(key) != new.get(key)
    ]


def compare(new: Row, old: Row, *, anyway: bool = False) -> dict[str, Any]:
    """Compare two benchmarks, case by case.

    Parameters
    ----------
    new, old
        Results of `segtool benchmark --json`.
    anyway
        Ignore the provider when matching cases.

    Returns
    -------
    dict
        `rows`: for each common case and each common `quantity` ("latency", "throughput"), the `ratio` of the new to
        the old time, its interval `low` to `high`, the `band`, and a `verdict`: "slower" or "faster" if the whole
        interval is beyond the band, "undecided" if it is not and the noise was above the limit, otherwise "same".
        `only_new`, `only_old`: cases without a counterpart.
    """
    before, now = _by_case(old["models"], anyway=anyway), _by_case(new["models"], anyway=anyway)
    band = _band(new, old)
    found = {case: _compare_case(now[case], before[case], band) for case in now if case in before}
    return {
        "rows": [row for rows in found.values() for row in rows],
        "only_new": [_title(case) for case in now if not found.get(case)],
        "only_old": [_title(case) for case in before if not found.get(case)],
    }


def _compare_case(new: Row, old: Row, band: float) -> list[dict[str, Any]]:
    found = []
    for quantity, interval in (("latency", _latency), ("throughput", _throughput)):
        now, then = interval(new), interval(old)
        if now is None or then is None:
            continue
        own = max([band, *(_throughput_band(row) for row in (new, old) if quantity == "throughput")])
        low, high = now[1] / then[2], now[2] / then[1]
        found.append(
            {
                **{key: new[key] for key in ("path", *_KEYS)},
                "quantity": quantity,
                "ratio": now[0] / then[0],
                "low": low,
                "high": high,
                "band": own,
                "verdict": judge(low, high, own),
            }
        )
    return found


def judge(low: float, high: float, band: float) -> str:
    """Return the verdict on the interval of a ratio of times: see `compare`."""
    if low > 1 + band:
        return "slower"
    if high < 1 / (1 + band):
        return "faster"
    return "same" if band <= max(NOISE_LIMIT, LEAST_BAND) else "undecided"


def _band(new: Row, old: Row) -> float:
    return max(LEAST_BAND, _noise_band(new), _noise_band(old))


def _noise_band(value: Row) -> float:
    band: float = (value.get("noise") or {}).get("band", 0.0)
    return band


def _throughput_band(row: Row) -> float:
    band: float = (row.get("throughput") or {}).get("band", 0.0)
    return band


def _latency(row: Row) -> tuple[float, float, float] | None:
    """Return the median time of a run and its interval; None if it was not measured."""
    times = row.get("latency_ms")
    return (times["p50"], times.get("p50_low", times["p50"]), times.get("p50_high", times["p50"])) if times else None


def _throughput(row: Row) -> tuple[float, float, float] | None:
    """Return the time per image, from images a second, and its interval; None if it was not measured."""
    rate = (row.get("throughput") or {}).get("images_per_second")
    return (1 / rate["median"], 1 / rate["high"], 1 / rate["low"]) if rate else None


def _by_case(rows: Sequence[Row], *, anyway: bool) -> dict[tuple[Any, ...], Row]:
    """Return the rows by case: the file name (the full path if names repeat) and the settings."""
    names = {row["path"]: Path(row["path"]).name for row in rows}
    whole = len(set(names.values())) < len(names)
    keys = _KEYS[1:] if anyway else _KEYS
    return {(row["path"] if whole else names[row["path"]], *(row[key] for key in keys)): row for row in rows}


def _is_benchmark(value: Any) -> bool:
    """Return whether a file contains valid times and fractions in all fields that a comparison reads."""
    try:
        rows, bands = value["models"], [_noise_band(value), *map(_throughput_band, value["models"])]
        return (
            value["command"] == "benchmark"
            and len(rows) > 0
            and isinstance(value["machine"], dict)
            and all(isinstance(row["path"], str) for row in rows)
            and all(isinstance(row[key], str | int) for row in rows for key in _KEYS)
            and all(0 < time < math.inf for row in rows for time in _times(row))
            and all(0 <= band < math.inf for band in bands)
        )
    except (AttributeError, KeyError, TypeError, ZeroDivisionError):
        return False


def _times(row: Row) -> list[float]:
    """Return the times of a row that a comparison reads, including the widths of its intervals."""
    return [*(_latency(row) or ()), *(_throughput(row) or ())]


def _title(case: Sequence[Any]) -> str:
    name, *rest = case
    provider = f"{rest[0].removesuffix('ExecutionProvider')}, " if len(rest) > len(_KEYS) - 1 else ""
    return f"{name} ({provider}threads {rest[-2]}, batch {rest[-1]})"


def _list(cases: Mapping[tuple[Any, ...], Row]) -> str:
    return ", ".join(map(_title, cases))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
