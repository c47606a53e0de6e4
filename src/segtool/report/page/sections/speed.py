"""Speed: distributions of latency, stages, cold start, memory, and the machine."""

from __future__ import annotations

from collections.abc import Sequence

from segtool.report.page.markup import Child, Html, tag
from segtool.report.page.parts import Cell, chart, facts, note, section, table
from segtool.report.page.view import View, name_of
from segtool.text import figures, megabytes, threads, whole

_PERCENTILES = ("min", "p50", "p90", "p99", "p999", "max", "mean")
_LATENCY = (
    "Every timed run from pixels to label map, none left out; the long mark is the median, the short ones p90 and p99, "
    "the diamond a new process up to its first labels."
)


def speed(view: View) -> Html:
    """Return the section; without times it says why there are none, and shows the machine."""
    if not any(model["benchmark"] for model in view.models):
        return section("speed", "Speed", note(_why_not(view)), _machine(view))
    drawings = [
        chart(view.scenes.get("latency"), _LATENCY),
        chart(view.scenes.get("stages"), "Medians. Decoding a PNG is not part of the latency."),
    ]
    return section(
        "speed", "Speed", tag("div", drawings, class_="charts"), _latencies(view), _cold(view), _machine(view)
    )


def _why_not(view: View) -> str:
    if any(model["kind"] == "onnx" for model in view.models):
        return "Times were not measured (--no-latency)."
    return "Only exported files are timed; run segtool export first."


def _latencies(view: View) -> Html:
    measured = [model for model in view.models if model["benchmark"]]
    used = [
        key for key in _PERCENTILES if any(model["benchmark"]["latency_ms"].get(key) is not None for model in measured)
    ]
    rows: list[Sequence[Child | Cell]] = []
    for model in measured:
        row = model["benchmark"]
        rows.append(
            [
                name_of(model),
                *(Cell(figures(row["latency_ms"].get(key))) for key in used),
                Cell(whole(row["n"])),
                Cell(whole(round(row["throughput_ips"]))),
                Cell(whole(round(row["cold_start_ms"]))),
                Cell(figures(row["peak_rss_mb"])),
                Cell(megabytes(row["size_bytes"])),
            ]
        )
    columns = ["model", *(f"{key} ms" for key in used), "runs", "images/s", "cold start ms", "peak MB", "file MB"]
    first = measured[0]["benchmark"]
    provider = str(first["provider"]).removesuffix("ExecutionProvider")
    caption = f"One image a run, {threads(first['threads'])}, {provider}; all models in turns"
    return table(caption, columns, rows, identifier="t-latency")


def _cold(view: View) -> Html:
    """Return what a new process spends its time on up to its first labels."""
    measured = [model for model in view.models if model["benchmark"]]
    phases = [key for key in measured[0]["benchmark"]["cold_start"] if key not in ("n", "min_ms", "max_ms")]
    rows: list[Sequence[Child | Cell]] = []
    for model in measured:
        cold = model["benchmark"]["cold_start"]
        spread = f"{figures(cold['min_ms'])} to {figures(cold['max_ms'])}"
        rows.append([name_of(model), *(Cell(figures(cold[key])) for key in phases), Cell(spread), Cell(cold["n"])])
    columns = [
        "model",
        *(f"{key.removesuffix('_ms').replace('_', ' ')} ms" for key in phases),
        "in all, ms",
        "processes",
    ]
    caption = "Cold start: the median of each phase of a new process, up to its first labels"
    return table(caption, columns, rows, identifier="t-cold")


def _machine(view: View) -> Html:
    machine = view.report["machine"]
    load = machine.get("load_average")
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return facts(
        [
            ("Processor", machine["cpu"]),
            ("Processors of this process", f"{machine['available_cpus']} of {machine['cores']}"),
            ("Instruction sets", ", ".join(machine["instruction_sets"])),
            ("Load average, 1, 5, 15 min", ", ".join(f"{value:.2f}" for value in load) if load else None),
            ("System", f"{machine['os']}, {machine['architecture']}, Python {machine['python']}"),
            ("Packages", packages),
        ]
    )
