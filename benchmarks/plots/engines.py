"""The README's table of images a second on all processors, engine by engine."""

from __future__ import annotations

from plots.results import interval, read


def throughput_table() -> list[str]:
    """Return the README's lines."""
    rows = read("export_engines")["throughput"]
    lines = [
        "",
        f"Images a second of the INT8 files on {rows[0]['processors']} processors, interleaved in one run:",
        "",
        "| how | images/s (95 % interval) |",
        "| --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: -row["median"]):
        lines.append(f"| {row['title']} | {interval(row, 0)} |")
    return lines
