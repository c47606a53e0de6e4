"""The tables of `segtool benchmark`, and the lines that explain their figures.

One function per table, named after it; docs/add-a-column.md shows where the values of each are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segtool.cli.common import say
from segtool.cli.tables import emit_table
from segtool.text import percent

Row = Mapping[str, Any]
Table = tuple[list[str], Sequence[Sequence[object]]]


def report_benchmark(result: Row) -> None:
    """Print the result of `segtool.benchmark.measure.measure`."""
    rows = result["models"]
    names, same = _case_columns(rows)
    where = f" ({same})" if same else ""
    if result["noise"] is not None:
        title = f"Latency of a run, from pixels to label maps, ms{where}"
        emit_table(*_side_by_side(names, _latency_table(rows, result["ranking"])), title=title)
        title = f"Median of each stage, ms; the latency excludes decode{where}"
        emit_table(*_side_by_side(names, _stages_table(rows)), title=title)
    if "throughput" in rows[0]:
        title = f"Throughput on all processors of this process{where}"
        emit_table(*_side_by_side(names, _throughput_table(rows)), title=title)
    title = f"New process to its first labels, ms; memory; size{where}"
    emit_table(*_side_by_side(names, _cost_table(rows)), title=title)
    if "comparison" in result:
        _report_comparison(result["comparison"])
    _print_conventions(result)


def _report_comparison(comparison: Row) -> None:
    names, same = _case_columns(comparison["rows"])
    title = f"Time now divided by {comparison['with']}{f' ({same})' if same else ''}"
    emit_table(*_side_by_side(names, _comparison_table(comparison)), title=title)


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
        say(
            f"Foreground IoU: mean over the classes except the background, on {accuracy['images']} images of "
            f"{result['data']} ({accuracy['split']})."
        )
    say(f"{machine['cpu']}, {machine['available_cpus']} of {machine['cores']} processors.")


def _latency_table(rows: Sequence[Row], ranking: Sequence[Row] | None) -> Table:
    places = {entry["model"]: entry for entry in ranking or ()}
    columns = ["runs", "p50", "95 % interval", "p90", "p99", "p99.9", "images/s (mean)"]
    cells = [
        [
            row["n"],
            _number(row["latency_ms"]["p50"], 2),
            _range(row["latency_ms"]["p50_low"], row["latency_ms"]["p50_high"]),
            *(_number(row["latency_ms"][key], 2) for key in ("p90", "p99", "p999")),
            f"{row['batch'] * 1e3 / row['latency_ms']['mean']:.0f}",
            *([_place(places[index])] if places else []),
        ]
        for index, row in enumerate(rows)
    ]
    return [*columns, *(["rank, ratio to fastest"] if places else [])], cells


def _throughput_table(rows: Sequence[Row]) -> Table:
    cells = [
        [
            row["throughput"]["sessions"],
            _number(row["throughput"]["images_per_second"]["median"], 0),
            _range(*(row["throughput"]["images_per_second"][key] for key in ("low", "high")), digits=0),
            *(_number(row["throughput"]["latency_ms"][key], 2) for key in ("p50", "p99")),
        ]
        for row in rows
    ]
    return ["sessions", "images/s", "95 % interval", "p50 under load, ms", "p99, ms"], cells


def _stages_table(rows: Sequence[Row]) -> Table:
    stages = list(rows[0]["stages_ms"])
    cells = [[_number(row["stages_ms"][stage], 3) for stage in stages] for row in rows]
    return stages, cells


def _cost_table(rows: Sequence[Row]) -> Table:
    phases = ("start", "import", "load", "first")
    cells = [
        [
            f"{row['cold_start_ms']:.0f}",
            *(f"{row['cold_start'][f'{phase}_ms']:.0f}" for phase in phases),
            _number(row["peak_rss_mb"], 0),
            f"{row['size_bytes'] / 1e6:.1f}",
            *([percent(row["accuracy"]["foreground_mean_iou"])] if "accuracy" in row else []),
        ]
        for row in rows
    ]
    columns = ["cold start", *phases, "peak MB", "file MB"]
    return [*columns, *(["foreground IoU %"] if "accuracy" in rows[0] else [])], cells


def _comparison_table(comparison: Row) -> Table:
    cells = [
        [
            row["quantity"],
            _interval(row["ratio"], row["low"], row["high"]),
            f"{100 * row['band']:.1f} %",
            row["verdict"],
        ]
        for row in comparison["rows"]
    ]
    return ["of", "ratio (interval)", "band", "verdict"], cells


def _case_columns(rows: Sequence[Row]) -> tuple[Table, str]:
    """Return the columns that identify each case, and a text with the settings that all cases share."""
    settings = {
        "provider": [row["provider"].removesuffix("ExecutionProvider") for row in rows],
        "threads": [row["threads"] for row in rows],
        "batch": [row["batch"] for row in rows],
    }
    differing = [name for name, values in settings.items() if len(set(values)) > 1]
    words = [
        str(values[0]) if name == "provider" else f"{name} {values[0]}"
        for name, values in settings.items()
        if name not in differing
    ]
    cells = [[row["path"], *(settings[name][index] for name in differing)] for index, row in enumerate(rows)]
    return (["model", *differing], cells), ", ".join(words)


def _side_by_side(names: Table, figures: Table) -> Table:
    """Return a table with the columns of both tables."""
    return [*names[0], *figures[0]], [[*name, *row] for name, row in zip(names[1], figures[1], strict=True)]


def _place(entry: Row) -> str:
    ratio = entry["over_fastest"]
    return f"{entry['rank']}, {_interval(ratio['median'], ratio['low'], ratio['high'])}"


def _interval(median: float, low: float, high: float, *, digits: int = 2) -> str:
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _range(low: float, high: float, *, digits: int = 2) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
