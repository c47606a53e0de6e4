"""docs/engines_footprint.svg and the README's table: what each engine takes on a disk and to start."""

from __future__ import annotations

from plots.results import read
from plots.svg import COLORS, Axis, Chart


def drawing() -> str:
    """Return the plot as SVG: install size against cold start."""
    engines = read("engines_footprint")["engines"]
    words = "; ".join(
        f"{engine['title']}: {engine['install_bytes'] / 1e6:.0f} MB, {engine['cold_start_ms']['median']:.0f} ms"
        for engine in engines
    )
    x = Axis("installed size, MB (both axes logarithmic)", 100, 3000, (100, 200, 500, 1000, 2000), log=True)
    y = Axis("cold start, ms", 100, 10000, (100, 300, 1000, 3000, 10000), log=True)
    chart = Chart("What an engine takes: disk, and time to the first labels", words, x, y)
    for engine, color in zip(engines, COLORS, strict=False):
        point = engine["install_bytes"] / 1e6, engine["cold_start_ms"]["median"]
        low, high = (engine["cold_start_ms"][key] for key in ("min", "max"))
        chart.whisker((point[0], low), (point[0], high), color=color)
        chart.dot(point, color=color)
        side = {"dx": -9.0, "anchor": "end"} if chart.x.share(point[0]) > 0.6 else {"dx": 9.0}
        chart.label(point, engine["title"], **side)
    return chart.text()


def table() -> list[str]:
    """Return the README's lines."""
    found = read("engines_footprint")
    lines = [
        "",
        f"Each engine in a fresh environment, and from the start of a process to the first labels, median of "
        f"{found['rounds']} (`benchmarks/engines_footprint.py`):",
        "",
        "| engine | installed MB | the largest parts, MB | cold start ms | of it imports, load, first inference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for engine in found["engines"]:
        parts = ", ".join(f"{part['package']} {part['bytes'] / 1e6:.0f}" for part in engine["packages"][:3])
        phases = engine["phases_ms"]
        lines.append(
            f"| {engine['title']} | {engine['install_bytes'] / 1e6:.0f} | {parts} | "
            f"{engine['cold_start_ms']['median']:.0f} | {phases['import']:.0f}, {phases['load']:.0f}, "
            f"{phases['first']:.0f} |"
        )
    return lines
