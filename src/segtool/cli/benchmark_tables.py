"""The tables of `segtool benchmark`, and the lines that explain their figures.

A table maps each heading to the function that returns its cell of a case. docs/add-a-column.md shows where the values
are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import getitem
from typing import Any

from segtool.benchmark.case import STAGES
from segtool.benchmark.cold_start import PHASES
from segtool.cli.common import say
from segtool.cli.tables import Columns, emit_rows
from segtool.text import counted, percent

Row = Mapping[str, Any]


def _at(*keys: str, digits: int) -> Callable[[Row], str]:
    """Return the function of a column whose number is in a row under these keys, one in the other."""

    def cell(row: Row) -> str:
        value: Any = reduce(getitem, keys, row)
        return "-" if value is None else f"{value:.{digits}f}"

    return cell


_LATENCY: Columns = {
    "runs": lambda row: row["n"],
    "p50": _at("latency_ms", "p50", digits=2),
    "95 % interval": lambda row: "{p50_low:.2f} to {p50_high:.2f}".format(**row["latency_ms"]),
    "p90": _at("latency_ms", "p90", digits=2),
    "p99": _at("latency_ms", "p99", digits=2),
    "p99.9": _at("latency_ms", "p999", digits=2),
    "images/s (mean)": _at("images_per_second", digits=0),
}
_RANK: Columns = {"rank, ratio to fastest": lambda row: f"{row['rank']}, {_interval(**row['over_fastest'])}"}
_THROUGHPUT: Columns = {
    "sessions": lambda row: row["throughput"]["sessions"],
    "images/s": _at("throughput", "images_per_second", "median", digits=0),
    "95 % interval": lambda row: "{low:.0f} to {high:.0f}".format(**row["throughput"]["images_per_second"]),
    "p50 under load, ms": _at("throughput", "latency_ms", "p50", digits=2),
    "p99, ms": _at("throughput", "latency_ms", "p99", digits=2),
}
_STAGES: Columns = {stage: _at("stages_ms", stage, digits=3) for stage in STAGES}
_COST: Columns = {
    "cold start": _at("cold_start_ms", digits=0),
    **{phase: _at("cold_start", f"{phase}_ms", digits=0) for phase in PHASES},
    "peak MB": _at("peak_rss_mb", digits=0),
    "file MB": lambda row: f"{row['size_bytes'] / 1e6:.1f}",
}
_ACCURACY: Columns = {"foreground IoU %": lambda row: percent(row["accuracy"]["foreground_mean_iou"])}
_COMPARISON: Columns = {
    "of": lambda row: row["quantity"],
    "ratio (interval)": lambda row: _interval(row["ratio"], row["low"], row["high"]),
    "band": lambda row: f"{100 * row['band']:.1f} %",
    "verdict": lambda row: row["verdict"],
}


def report_benchmark(result: Row) -> None:
    """Print the result of `segtool.benchmark.measure.measure`."""
    rows = result["models"]
    if result["noise"] is not None:
        places = {entry["model"]: entry for entry in result["ranking"] or ()}
        ranked = [{**row, **places.get(index, {})} for index, row in enumerate(rows)]
        _emit("Latency of a run, from pixels to label maps, ms", ranked, {**_LATENCY, **(_RANK if places else {})})
        _emit("Median of each stage, ms; the latency excludes decode", rows, _STAGES)
    if "throughput" in rows[0]:
        _emit("Throughput on all processors of this process", rows, _THROUGHPUT)
    accuracy = _ACCURACY if "accuracy" in rows[0] else {}
    _emit("New process to its first labels, ms; memory; size", rows, {**_COST, **accuracy})
    if "comparison" in result:
        comparison = result["comparison"]
        _emit(f"Time now divided by {comparison['with']}", comparison["rows"], _COMPARISON)
    _print_conventions(result)


def _emit(title: str, rows: Sequence[Row], figures: Columns) -> None:
    """Print a table: the model, the settings that differ, the figures; the title has the settings that are equal."""
    settings: Columns = {
        "provider": lambda row: row["provider"].removesuffix("ExecutionProvider"),
        "threads": lambda row: row["threads"],
        "batch": lambda row: row["batch"],
    }
    differing = {name: cell for name, cell in settings.items() if len(set(map(cell, rows))) > 1}
    shared = [
        str(cell(rows[0])) if name == "provider" else f"{name} {cell(rows[0])}"
        for name, cell in settings.items()
        if name not in differing
    ]
    columns: Columns = {"model": lambda row: row["path"], **differing, **figures}
    emit_rows(columns, rows, title=f"{title} ({', '.join(shared)})" if shared else title)


def _print_conventions(result: Row) -> None:
    """Print how the figures are defined; titles and rows give the threads and the batch."""
    first, machine = result["models"][0], result["machine"]
    if result["noise"] is not None:
        say(
            "Latency: time of a whole batch. images/s (mean) is batch / mean time, one run after the other: slow runs "
            "affect it, but not p50."
        )
    if "throughput" in first:
        say("Throughput: total images/s of all sessions, each with these threads and this batch.")
    if "accuracy" in first:
        accuracy = first["accuracy"]
        images = counted(accuracy["images"], "image")
        say(
            f"Foreground IoU: mean over the classes except the background, on {images} of "
            f"{result['data']} ({accuracy['split']})."
        )
    say(f"{machine['cpu']}, {machine['available_cpus']} of {counted(machine['cores'], 'processor')}.")


def _interval(median: float, low: float, high: float) -> str:
    return f"{median:.2f} ({low:.2f} to {high:.2f})"
