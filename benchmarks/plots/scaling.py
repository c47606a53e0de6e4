"""docs/scaling.svg and the README's table: latency, memory and training time against size."""

from __future__ import annotations

from typing import Any

from plots.results import processor, read
from plots.svg import COLORS, Axis, Chart, stacked

SIDES = (128, 256, 512, 1024, 2048)
_WIDTH, _HEIGHT = 720, 380
Series = dict[tuple[str, str, str], list[dict[str, Any]]]


def drawing() -> str:
    """Return the plots as SVG, one below the other."""
    series = _series()
    latency = _chart("Latency against image size, one thread", "median, ms", series, _latency)
    memory = _chart("Peak memory of a fresh process", "MB", series, _memory)
    return stacked([latency, memory, _training()], width=_WIDTH, height=_HEIGHT)


def table() -> list[str]:
    """Return the README's lines."""
    series = _series()
    lines = [
        "",
        f"Larger images, one thread ({processor(read('scaling')['machine'])}; `benchmarks/scaling.py`, drawn in "
        "[scaling.svg](scaling.svg)): median ms, and peak MB of a fresh process. Whole: the network exported "
        "at that size; tiled: the 64 x 84 file on overlapping tiles.",
        "",
        "| network | " + " | ".join(f"{side} x {side}" for side in SIDES) + " |",
        "| --- |" + " --- |" * len(SIDES),
    ]
    for key, rows in series.items():
        cells = {row["side"]: f"{_short(_latency(row))} ms, {_memory(row):.0f} MB" for row in rows}
        lines.append(f"| {_name(key)} | " + " | ".join(cells.get(side, "-") for side in SIDES) + " |")
    return lines


def _series() -> Series:
    found: Series = {}
    for row in read("scaling")["rows"]:
        found.setdefault((row["arch"], row["precision"], row["how"]), []).append(row)
    return found


def _name(key: tuple[str, str, str]) -> str:
    arch, precision, how = key
    return f"{arch} {'INT8' if precision == 'int8' else 'FP32'}, {how}"


def _short(value: float) -> str:
    """Return three digits of a number, and all before its point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _latency(row: dict[str, Any]) -> float:
    return float(row["latency_ms"]["p50"])


def _memory(row: dict[str, Any]) -> float:
    return float(row["peak_rss_mb"])


def _chart(title: str, unit: str, series: Series, value: Any) -> Chart:
    values = [value(row) for rows in series.values() for row in rows]
    low, high = _decade(min(values), up=False), _decade(max(values), up=True)
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5) if low <= tick <= high]
    words = "; ".join(
        f"{_name(key)}: " + ", ".join(f"{value(row):.3g} at {row['side']}" for row in rows)
        for key, rows in series.items()
    )
    x = Axis("side of a square image, pixels (both axes logarithmic)", 110, 2400, SIDES, log=True)
    chart = Chart(title, words, x, Axis(unit, low, high, ticks, log=True), width=_WIDTH, height=_HEIGHT)
    look = {key: _look(key) for key in series}
    for key, rows in series.items():
        color, dash = look[key]
        points = [(row["side"], value(row)) for row in rows]
        chart.line(points, color=color, dash=dash)
        for point in points:
            chart.dot(point, color=color, size=3.5)
    chart.legend([(_name(key), *look[key]) for key in series])
    return chart


def _look(key: tuple[str, str, str]) -> tuple[str, str]:
    """Return colour (the network and its precision) and dashes (how large images are run)."""
    arch, precision, how = key
    return COLORS[2 * (arch == "fcn8") + (precision == "int8")], "5 4" if how == "tiled" else ""


def _decade(value: float, *, up: bool) -> float:
    edges = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5]
    return min(edge for edge in edges if edge >= value) if up else max(edge for edge in edges if edge <= value)


def _training() -> Chart:
    found = read("training_time")
    rows = found["rows"]
    counts = [row["images"] for row in rows]
    most = max(row["epoch_seconds"]["max"] for row in rows)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if most / step <= 6)
    top = step * (int(most / step) + 1)
    words = ", ".join(f"{row['epoch_seconds']['median']:.1f} s with {row['images']}" for row in rows)
    chart = Chart(
        f"Training: seconds of an epoch of {found['arch']} on generated images",
        f"Median seconds of an epoch: {words}.",
        Axis("images (80 % of them trained on)", 0, max(counts) * 1.05, counts),
        Axis("s an epoch", 0, top, [step * index for index in range(int(top / step) + 1)]),
        width=_WIDTH,
        height=_HEIGHT,
    )
    chart.line([(row["images"], row["epoch_seconds"]["median"]) for row in rows], color=COLORS[0])
    for row in rows:
        times = row["epoch_seconds"]
        chart.whisker((row["images"], times["min"]), (row["images"], times["max"]), color=COLORS[0])
        chart.dot((row["images"], times["median"]), color=COLORS[0])
    return chart
