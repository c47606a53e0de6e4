"""The comparison for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = ("engine", "p50 ms", "p90", "p99", "/ ours FP32", "/ ours INT8", "MB", "labels %", "fg mIoU %")


def text(result: Mapping[str, Any]) -> str:
    """Return every part of a result as text."""
    parts = [
        f"{threads} thread{'s' if threads > 1 else ''}\n"
        + _table(_COLUMNS, [_row(row) for row in result["engines"] if row["threads"] == threads])
        for threads in result["method"]["threads"]
    ]
    parts.append(_table(("both cores", "images/s", "95 % interval"), [_mode(mode) for mode in result["throughput"]]))
    parts.append(
        _table(
            ("one thread", "best GMAC/s", "product", "ours GMAC/s", "share", "of what is left to do"),
            [_peak(*item) for item in result["peak"].items()],
        )
    )
    parts.append(_table(("target", "found", "met"), [_target(target) for target in result["targets"]]))
    return "\n\n".join(parts)


def _row(row: Mapping[str, Any]) -> list[str]:
    latency, ratios = row["latency_ms"], row["time_over_ours"]
    return [
        row["title"],
        *(f"{latency[key]:.3f}" for key in ("p50", "p90", "p99")),
        *(_interval(ratios[precision]) for precision in ("float32", "int8")),
        f"{row['size_bytes'] / 1e6:.2f}",
        f"{100 * row['label_agreement']:.3f}",
        f"{100 * row['foreground_mean_iou']:.2f}",
    ]


def _mode(mode: Mapping[str, Any]) -> list[str]:
    return [mode["title"], f"{mode['median']:.0f}", f"{mode['low']:.0f} to {mode['high']:.0f}"]


def _peak(precision: str, entry: Mapping[str, Any]) -> list[str]:
    best, ours = entry["best"], entry["ours"]
    product = f"{best['library']}, {' x '.join(map(str, best['m_k_n']))}"
    rates = (f"{value['gmacs_per_second']:.1f}" for value in (best, ours))
    return [
        precision,
        next(rates),
        product,
        next(rates),
        *(f"{100 * ours[key]:.1f} %" for key in ("share", "share_done")),
    ]


def _target(target: Mapping[str, Any]) -> list[str]:
    found = _interval(target["ratio"]) if "ratio" in target else f"{target['found']:.3f}"
    return [target["target"], found, "yes" if target["met"] else "NO"]


def _interval(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (head, ["-" * width for width in widths], *rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
