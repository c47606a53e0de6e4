"""docs/family.svg and the README's table of the family: accuracy against INT8 latency."""

from __future__ import annotations

from typing import Any

from plots.results import processor, read
from plots.svg import COLORS, MUTED, Axis, Chart

# Section 10 of the design: mean IoU of the digits in the source's own run, FCN-8, on its own validation images.
SOURCE_IOU = 84.76


def drawing() -> str:
    """Return the plot as SVG."""
    found = read("family")
    members = found["members"]
    scores = [100 * member["foreground_mean_iou"] for member in members]
    slowest = max(member["latency_ms"]["p50"] for member in members)
    words = "; ".join(
        f"{title(member)}: {score:.1f} % in {member['latency_ms']['p50']:.2f} ms"
        for member, score in zip(members, scores, strict=True)
    )
    low = _floor(min([*scores, SOURCE_IOU]))
    step = 2 if low >= 76 else 10
    chart = Chart(
        "Mean IoU of the digits against INT8 latency, one image, one thread",
        f"{words}. The source's own run, a line at {SOURCE_IOU} %.",
        Axis("median latency, ms (logarithmic)", 0.1, _ceiling(slowest), _ticks(slowest), log=True),
        Axis("mean IoU, digits, %", low, 100, range(low, 101, step)),
    )
    high = chart.x.high
    chart.line([(0.1, SOURCE_IOU), (high, SOURCE_IOU)], color=MUTED, dash="6 4")
    text = f"the source's own run, FCN-8: {SOURCE_IOU} % (its validation images)"
    chart.label((0.1, SOURCE_IOU), text, dx=8, dy=-7, color=MUTED)
    for member, score in zip(members, scores, strict=True):
        _draw_member(chart, member, score)
    return chart.text()


def table() -> list[str]:
    """Return the README's lines."""
    found = read("family")
    images = found["members"][0]["images"]
    lines = [
        "",
        f"The family in INT8 on {images} {found['split']} images of real M2NIST, one thread, interleaved in one run "
        f"({processor(found['machine'])}; `benchmarks/family.py`): another processor than in some tables above, so "
        f"compare times within a table. {found['note']}".rstrip(),
        "",
        "![Accuracy against INT8 latency of the family](family.svg)",
        "",
        "| network | parameters | epochs | mean IoU, digits % | p50 ms (95 % interval) | p99 ms | MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for member in found["members"]:
        times = member["latency_ms"]
        lines.append(
            f"| {member['arch']} | {member['parameters']:,} | {member['epochs']} | "
            f"{100 * member['foreground_mean_iou']:.2f} | {times['p50']:.3f} ({times['p50_low']:.3f} to "
            f"{times['p50_high']:.3f}) | {times['p99']:.2f} | {member['size_bytes'] / 1e6:.2f} |"
        )
    if not found["noise"]["quiet"]:
        lines += ["", f"The same file against itself differed by {100 * found['noise']['band']:.0f} %: not ranked."]
    return lines


def title(member: dict[str, Any]) -> str:
    """Return the name of a member in the plot."""
    return f"{member['arch']}, {member['epochs']} epochs"


def _draw_member(chart: Chart, member: dict[str, Any], score: float) -> None:
    times = member["latency_ms"]
    color = COLORS[1] if member["arch"] == "fcn8" else COLORS[0]
    chart.whisker((times["p50_low"], score), (times["p50_high"], score), color=color)
    chart.dot((times["p50"], score), color=color)
    right = chart.x.share(times["p50"]) > 0.7
    side = {"dx": -9.0, "dy": -8.0, "anchor": "end"} if right else {"dx": 9.0}
    chart.label((times["p50"], score), title(member), **side)


def _floor(value: float) -> int:
    return int(value // 10 * 10) if value < 78 else int(value // 2 * 2) - 2


def _ceiling(value: float) -> float:
    return next(edge for edge in (0.5, 1, 2, 5, 10, 20, 50, 100) if edge > 1.15 * value)


def _ticks(slowest: float) -> list[float]:
    return [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if tick <= _ceiling(slowest)]
