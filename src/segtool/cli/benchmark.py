"""`segtool benchmark`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from segtool.cli.common import Command, emit_json, emit_table, percent, say
from segtool.cli.options import IntList, data_option, json_option, provider_option, say_provider


@click.command(cls=Command, name="benchmark", short_help="Measure latency, throughput, cold start, memory and size.")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@data_option("Images to run on, with the accuracy on them; without it the images of the model's golden pair.")
@provider_option
@click.option("--threads", type=IntList(), help="Threads, each measured.  [default: OMP_NUM_THREADS, else 1]")
@click.option("--batch", type=IntList(), default="1", show_default=True, help="Images a run, each measured.")
@click.option("--runs", type=click.IntRange(10), default=200, show_default=True, help="Timed runs a case.")
@click.option("--warmup", type=click.IntRange(1), default=20, show_default=True, help="Runs before those, not counted.")
@json_option
def command(*, models: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Measure MODELs (.onnx files; those of the latest run where none is given) on this machine.

    All cases are measured in turns within one run (A, B, A, B, ...), so that what else the machine does hits each
    alike; compare ratios, not single times. Latency is end to end, from raw uint8 pixels to the label map. No
    outlier is removed. Cold start and peak memory come from a fresh process.

    \b
    Examples:
      segtool benchmark
      segtool benchmark model.onnx model.int8.onnx --threads 1,2 --batch 1,8 --json
    """
    from segtool.cli.progress import progress_bar
    from segtool.report.measure import MeasureOptions, measure

    options["threads"] = options["threads"] or ()
    with progress_bar("runs") as progress:
        result = measure(models, options=MeasureOptions(**options), progress=progress)
    for row in {row["provider_reason"]: row for row in result["models"]}.values():
        say_provider(row)
    if as_json:
        emit_json("benchmark", result)
    else:
        _report(result["models"], result["machine"])


def _report(rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> None:
    emit_table(
        [
            "model",
            "provider",
            "threads",
            "batch",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "images/s",
            "cold start ms",
            "peak MB",
            "size MB",
            "IoU %",
        ],
        [
            [
                row["path"],
                row["provider"].removesuffix("ExecutionProvider"),
                row["threads"],
                row["batch"],
                *(f"{row['latency_ms'][key]:.2f}" for key in ("p50", "p90", "p99")),
                f"{row['throughput_ips']:.0f}",
                f"{row['cold_start_ms']:.0f}",
                "-" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f}",
                f"{row['size_bytes'] / 1e6:.1f}",
                percent((row.get("accuracy") or {}).get("foreground_mean_iou")),
            ]
            for row in rows
        ],
    )
    say(f"{machine['cpu']}, {machine['cores']} processors; times are per run of a whole batch.")
