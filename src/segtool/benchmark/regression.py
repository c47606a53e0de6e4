"""Is a model slower than it was? A measurement against an earlier one, with a band for what noise alone does.

The two are of different hours and processes, so that no interleaving helps. What helps is the band: how far the same
model is from itself (`segtool.benchmark.noise`) in either measurement, and at least what fresh processes differ by.
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
"""One file's median differs by nearly this share from run to run: where memory lies is luck, and what the host does.

Measured: six runs of the same two files, one after the other on an otherwise idle guest. Within a run the same model
was within 1.1 % of itself; from run to run the medians were up to 5.5 % and 8.9 % apart.
"""

SCHEMA_VERSION = 1
"""Of the files that are read: what the command line writes into every JSON object."""

_MACHINE = ("cpu", "architecture", "available_cpus", "cgroup_quota", "instruction_sets")
_QUANTITIES = ("latency_ms", "throughput")
_KEYS = ("provider", "threads", "batch")

Row = Mapping[str, Any]


def read_benchmark(path: str | Path) -> dict[str, Any]:
    """Read what `segtool benchmark --out` (or `--json`) wrote.

    Raises
    ------
    DataError
        It cannot be read, or is something else.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); expected what `segtool benchmark --out` wrote.") from error
    if not _is_benchmark(value):
        raise DataError(f"{path} holds no benchmark; expected what `segtool benchmark --out` wrote.")
    _refuse_other_version(path, value.get("schema_version"))
    if not any(map(_times, value["models"])):
        raise DataError(f"{path} is a benchmark without latencies and throughput; measure again with `--out`.")
    return dict(value)


def _refuse_other_version(path: str | Path, version: object) -> None:
    if version == SCHEMA_VERSION:
        return
    newer = isinstance(version, int) and version > SCHEMA_VERSION
    raise DataError(
        f"{path} has the schema version {version!r}, and this segtool reads {SCHEMA_VERSION}; "
        f"{'upgrade segtool, or ' if newer else ''}measure again with `--out`."
    )


def require_comparable(old: Row, machine: Row, providers: Sequence[str]) -> None:
    """Refuse to compare with what another machine or provider did.

    Parameters
    ----------
    old
        As `read_benchmark` returns it.
    machine
        What `segtool.machine.machine.machine_info` says now.
    providers
        The providers that run now.

    Raises
    ------
    DataError
        The machines differ, or a provider that runs now did not run then.
    """
    different = machine_differences(old["machine"], machine)
    if different:
        raise DataError(
            f"The earlier benchmark was made on another machine ({'; '.join(different)}), so that a difference would "
            "say nothing of the model; measure both here, or pass --compare-anyway."
        )
    before = {row["provider"] for row in old["models"]}
    if new := [name for name in dict.fromkeys(providers) if name not in before]:
        raise DataError(
            f"The earlier benchmark ran on {', '.join(sorted(before))} and this one on {', '.join(new)}, so that a "
            "difference would say nothing of the model; name its --provider, or pass --compare-anyway."
        )


def require_shared_case(old: Row, rows: Sequence[Row], *, anyway: bool = False) -> None:
    """Refuse before anything is measured where nothing that will be measured was measured then.

    Parameters
    ----------
    old
        As `read_benchmark` returns it.
    rows
        What will be measured: `path`, `provider`, `threads`, `batch`, and as keys "latency_ms", "throughput" or both.
    anyway
        As in `compare`.

    Raises
    ------
    DataError
        They share no case.
    """
    before, now = _by_case(old["models"], anyway=anyway), _by_case(rows, anyway=anyway)
    if any(before[case].get(key) and key in now[case] for case in now if case in before for key in _QUANTITIES):
        return
    raise DataError(
        f"The earlier benchmark has none of these cases (it has {_list(before)}, this one {_list(now)}); measure "
        "the same file names, threads, batches and mode."
    )


def machine_differences(old: Row, new: Row) -> list[str]:
    """Return in words in what two machines differ that decides how fast a model is."""
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
        As `segtool benchmark --json` prints them.
    anyway
        Take cases for the same whatever provider runs them.

    Returns
    -------
    dict
        `rows`: for each case that is in both and each `quantity` that was measured in both ("latency", "throughput")
        the `ratio` of its time now to its time then, the interval `low` to `high`, the `band`, and a `verdict`:
        "slower" or "faster" where the whole interval is beyond the band, "undecided" where it is not and the noise was
        above the limit, else "same". `only_new`, `only_old`: cases that have nothing in the other to compare with.
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
    """Return the median time of a run and its interval; None where it was not measured."""
    times = row.get("latency_ms")
    return (times["p50"], times.get("p50_low", times["p50"]), times.get("p50_high", times["p50"])) if times else None


def _throughput(row: Row) -> tuple[float, float, float] | None:
    """Return the time per image, from images a second, and its interval; None where it was not measured."""
    rate = (row.get("throughput") or {}).get("images_per_second")
    return (1 / rate["median"], 1 / rate["high"], 1 / rate["low"]) if rate else None


def _by_case(rows: Sequence[Row], *, anyway: bool) -> dict[tuple[Any, ...], Row]:
    """Return the rows by what makes a case: the file's name (its whole path where names repeat) and how it runs."""
    names = {row["path"]: Path(row["path"]).name for row in rows}
    whole = len(set(names.values())) < len(names)
    keys = _KEYS[1:] if anyway else _KEYS
    return {(row["path"] if whole else names[row["path"]], *(row[key] for key in keys)): row for row in rows}


def _is_benchmark(value: Any) -> bool:
    """Tell whether a file's content has what a comparison reads, and nothing in its place that is no time or share."""
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
    """Return the times of a row that a comparison reads, the widths of its intervals included."""
    return [*(_latency(row) or ()), *(_throughput(row) or ())]


def _title(case: Sequence[Any]) -> str:
    name, *rest = case
    provider = f"{rest[0].removesuffix('ExecutionProvider')}, " if len(rest) > len(_KEYS) - 1 else ""
    return f"{name} ({provider}threads {rest[-2]}, batch {rest[-1]})"


def _list(cases: Mapping[tuple[Any, ...], Row]) -> str:
    return ", ".join(map(_title, cases))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
