"""`segtool benchmark`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from segtool.cli.common import EXIT_PARTLY, SCHEMA_VERSION, Command, emit_json, emit_table, percent, say
from segtool.cli.options import (
    FiniteRange,
    IntList,
    data_option,
    json_option,
    overwrite_option,
    provider_option,
    say_provider,
)
from segtool.errors import GateError

Row = Mapping[str, Any]

logger = logging.getLogger(__name__)


@click.command(cls=Command, name="benchmark", short_help="Measure latency, throughput, cold start, memory and size.")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@data_option("Images to run on, with the accuracy on them; without it the images of the model's golden pair.")
@click.option(
    "--mode",
    type=click.Choice(["latency", "throughput", "both"]),
    default="both",
    show_default=True,
    help="latency: one run after the other. throughput: sessions side by side, as many as --threads fit into the "
    "processors.",
)
@provider_option
@click.option("--threads", type=IntList(), help="Threads, each measured.  [default: OMP_NUM_THREADS, else 1]")
@click.option("--batch", type=IntList(), default="1", show_default=True, help="Images a run, each measured.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1),
    help="Time for each case and mode.  [default: 10]",
)
@click.option("--runs", type=click.IntRange(10), help="Timed runs a case, in place of --seconds.")
@click.option(
    "--warmup",
    type=click.IntRange(1),
    help="Rounds before those, not counted.  [default: until the times have settled, at most 5 seconds a case]",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OLD.json",
    help="Compare with an earlier --out: exit 4 where a case is slower than noise explains (10 %, or what a file "
    "against itself shows), 3 where the noise is greater than that and hides a difference.",
)
@click.option("--compare-anyway", is_flag=True, help="Compare although machine or provider are others.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Also write what --json prints to a file.")
@overwrite_option
@json_option
def command(*, models: tuple[Path, ...], as_json: bool, out: Path | None, overwrite: bool, **options: Any) -> None:
    """Measure MODELs (.onnx files; those of the latest run where none is given) on this machine.

    All cases are measured in turns within one run (A, B, A, B, ...), so that what else the machine does hits each
    alike. Latency is end to end, from raw uint8 pixels to the label map; no outlier is removed. Cold start and peak
    memory come from fresh processes. A second session of the first model takes turns too: where the two differ by
    more than 5 %, the machine is too noisy to say which model is faster, and nothing is ranked. --provider takes
    several names with commas.

    \b
    Examples:
      segtool benchmark
      segtool benchmark model.onnx model.int8.onnx --threads 1,2 --batch 1,8 --json
      segtool benchmark model.int8.onnx --out before.json
      segtool benchmark model.int8.onnx --compare before.json     # exit code 4 where it got slower
    """
    _check(options, out=out, overwrite=overwrite)
    from segtool.cli.progress import progress_bar
    from segtool.files import refuse_existing, write_json
    from segtool.report.measure import MeasureOptions, measure

    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    options["threads"] = options["threads"] or ()
    options["seconds"] = options["seconds"] or MeasureOptions.seconds
    with progress_bar("") as progress:
        result = measure(models, options=MeasureOptions(**options), progress=progress)
    if out is not None:
        write_json(out, {"schema_version": SCHEMA_VERSION, "command": "benchmark", **result})
    for row in {row["provider_reason"]: row for row in result["models"]}.values():
        say_provider(row)
    if as_json:
        emit_json("benchmark", result)
    else:
        _report(result)
    _say_noise(result)
    _judge(result)


def _check(options: Mapping[str, Any], *, out: Path | None, overwrite: bool) -> None:
    """Refuse options that say nothing, or two things."""
    if options["runs"] and options["seconds"]:
        raise click.UsageError("--runs and --seconds both say how long to measure; give one of them.")
    if options["compare_anyway"] and options["compare"] is None:
        raise click.UsageError("--compare-anyway says how to compare; give --compare as well.")
    if overwrite and out is None:
        raise click.UsageError("--overwrite is about --out; give that as well.")


def _report(result: Row) -> None:
    rows = result["models"]
    if result["noise"] is not None:
        emit_table(*_latency_table(rows, result["ranking"]), title="Latency of a run, from pixels to label maps, ms")
        emit_table(*_stages_table(rows), title="Median of each stage, ms; decode is not in the latency")
    if "throughput" in rows[0]:
        emit_table(*_throughput_table(rows), title="Throughput, on all processors of this process")
    emit_table(*_cost_table(rows), title="Fresh processes: from their start to the first labels, ms; memory; size")
    if "comparison" in result:
        emit_table(*_comparison_table(result["comparison"]), title=f"Time now over {result['comparison']['with']}")
    machine = result["machine"]
    say(f"{machine['cpu']}, {machine['available_cpus']} of {machine['cores']} processors; times are of a whole batch.")


def _latency_table(rows: Sequence[Row], ranking: Sequence[Row] | None) -> tuple[list[str], list[list[object]]]:
    places = {entry["model"]: entry for entry in ranking or ()}
    columns = [*_CASE, "runs", "p50 (95 % interval)", "p90", "p99", "p99.9", "images/s"]
    cells = [
        [
            *_case(row),
            row["n"],
            _interval(row["latency_ms"]["p50"], row["latency_ms"]["p50_low"], row["latency_ms"]["p50_high"]),
            *(_number(row["latency_ms"][key], 2) for key in ("p90", "p99", "p999")),
            f"{row['batch'] * 1e3 / row['latency_ms']['mean']:.0f}",
            *([_place(places[index])] if places else []),
        ]
        for index, row in enumerate(rows)
    ]
    return [*columns, *(["rank, over fastest"] if places else [])], cells


def _throughput_table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    cells = [
        [
            *_case(row),
            row["throughput"]["sessions"],
            _interval(*(row["throughput"]["images_per_second"][key] for key in ("median", "low", "high")), digits=0),
            *(_number(row["throughput"]["latency_ms"][key], 2) for key in ("p50", "p99")),
        ]
        for row in rows
    ]
    return [*_CASE, "sessions", "images/s (95 % interval)", "p50 under load", "p99"], cells


def _stages_table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    stages = list(rows[0]["stages_ms"])
    cells = [[*_case(row), *(_number(row["stages_ms"][stage], 3) for stage in stages)] for row in rows]
    return [*_CASE, *stages], cells


def _cost_table(rows: Sequence[Row]) -> tuple[list[str], list[list[object]]]:
    phases = ("start", "import", "load", "first")
    cells = [
        [
            *_case(row),
            f"{row['cold_start_ms']:.0f}",
            *(f"{row['cold_start'][f'{phase}_ms']:.0f}" for phase in phases),
            _number(row["peak_rss_mb"], 0),
            f"{row['size_bytes'] / 1e6:.1f}",
            *([percent(row["accuracy"]["foreground_mean_iou"])] if "accuracy" in row else []),
        ]
        for row in rows
    ]
    columns = [*_CASE, "cold start", *phases, "peak MB", "file MB"]
    return [*columns, *(["IoU %"] if "accuracy" in rows[0] else [])], cells


def _comparison_table(comparison: Row) -> tuple[list[str], list[list[object]]]:
    cells = [
        [
            *_case(row),
            row["quantity"],
            _interval(row["ratio"], row["low"], row["high"]),
            f"{100 * row['band']:.1f} %",
            row["verdict"],
        ]
        for row in comparison["rows"]
    ]
    return [*_CASE, "of", "ratio (interval)", "band", "verdict"], cells


_CASE = ("model", "provider", "threads", "batch")


def _case(row: Row) -> list[object]:
    return [row["path"], row["provider"].removesuffix("ExecutionProvider"), row["threads"], row["batch"]]


def _place(entry: Row) -> str:
    ratio = entry["over_fastest"]
    return f"{entry['rank']}, {_interval(ratio['median'], ratio['low'], ratio['high'])}"


def _interval(median: float, low: float, high: float, *, digits: int = 2) -> str:
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _say_noise(result: Row) -> None:
    """Warn where nothing may be ranked, and where the times had not settled."""
    noise, warmup = result["noise"], result["warmup"]
    if noise is not None and not noise["quiet"]:
        load = result["machine"]["load_average"]
        busy = f"; the load was {load[0]:.1f} at the start" if load else ""
        logger.warning(
            "The machine is too noisy to say which model is faster: two sessions of the same file differed "
            f"by up to {100 * noise['band']:.1f} %, at most {100 * noise['limit']:.0f} % is allowed{busy}. Nothing is "
            "ranked; stop other programs, or measure longer with --seconds."
        )
    if warmup is not None and warmup["stable"] is False:
        logger.warning(f"The times had not settled after {warmup['rounds']} rounds of warm-up ({warmup['criterion']}).")


def _judge(result: Row) -> None:
    """End with 4 where a case got slower, and with 3 where the noise was too great to tell."""
    comparison = result.get("comparison")
    if comparison is None:
        return
    for text, cases in (("this one", comparison["only_new"]), ("the earlier benchmark", comparison["only_old"])):
        if cases:
            say(f"Only in {text}, and not compared: {', '.join(cases)}.")
    slower = [row for row in comparison["rows"] if row["verdict"] == "slower"]
    if slower:
        worst = max(slower, key=lambda row: float(row["ratio"]))
        raise GateError(
            f"{len(slower)} of {len(comparison['rows'])} measurements got slower than the band of "
            f"{100 * worst['band']:.1f} % explains, {worst['path']} ({worst['quantity']}) by a factor of "
            f"{worst['ratio']:.2f}; find what changed since {comparison['with']}, or measure again on a quiet machine."
        )
    if any(row["verdict"] == "undecided" for row in comparison["rows"]):
        logger.warning(
            "The noise hides differences that matter: the comparison is undecided; measure again when quiet."
        )
        click.get_current_context().exit(EXIT_PARTLY)
