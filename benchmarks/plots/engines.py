"""The README's table of images a second on all processors, engine by engine."""

from __future__ import annotations

from plots.results import result


def throughput_table() -> list[str]:
    """Return the README's lines."""
    rows = result("export_engines")["throughput"]
    lines = [
        "",
        f"Images a second of the INT8 files on {rows[0]['processors']} processors, interleaved in one run:",
        "",
        "| how | images/s (95 % interval) |",
        "| --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: -row["median"]):
        lines.append(f"| {row['title']} | {row['median']:.0f} ({row['low']:.0f} to {row['high']:.0f}) |")
    return lines
