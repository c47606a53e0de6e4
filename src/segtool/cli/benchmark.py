"""`segtool benchmark`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from segtool.cli.benchmark_tables import report_benchmark
from segtool.cli.common import EXIT_PARTLY, SCHEMA_VERSION, Command, emit_json, say
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
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN_OR_MODEL]...")
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
    """Measure RUN_OR_MODELs (run folders or .onnx files; by default the latest run, or the model that ships) here.

    Of a run folder its exported files are measured, FP32 and INT8.

    All cases are measured in turns within one run (A, B, A, B, ...), so that what else the machine does hits each
    alike. Latency is end to end, from raw uint8 pixels to the label map; no outlier is removed. Cold start and peak
    memory come from fresh processes. A second session of the first model takes turns too: where the two differ by
    more than 5 %, the machine is too noisy to say which model is faster, and nothing is ranked. --provider takes
    several names with commas.

    \b
    Examples:
      segtool benchmark
      segtool benchmark runs/a runs/b --data test.npz
      segtool benchmark model.onnx model.int8.onnx --threads 1,2 --batch 1,8 --json
      segtool benchmark model.int8.onnx --out before.json
      segtool benchmark model.int8.onnx --compare before.json     # exit code 4 where it got slower
    """
    _check(options, out=out, overwrite=overwrite)
    from segtool.benchmark.measure import MeasureOptions, measure
    from segtool.cli.progress import progress_bar
    from segtool.files import refuse_existing, write_json
    from segtool.models.exported import exported_files

    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    options["threads"] = options["threads"] or ()
    options["seconds"] = options["seconds"] or MeasureOptions.seconds
    files = exported_files(models)
    if out is not None:
        _refuse_inputs(out, [*files, *models], options)
    with progress_bar("") as progress:
        result = measure(files, options=MeasureOptions(**options), progress=progress)
    if out is not None:
        write_json(out, {"schema_version": SCHEMA_VERSION, "command": "benchmark", **result})
    for row in {row["provider_reason"]: row for row in result["models"]}.values():
        say_provider(row)
    if as_json:
        emit_json("benchmark", result)
    else:
        report_benchmark(result)
    _say_noise(result)
    _judge(result)


def _check(options: Mapping[str, Any], *, out: Path | None, overwrite: bool) -> None:
    """Refuse options that say nothing, or two things."""
    if options["runs"] and options["seconds"]:
        raise click.UsageError("--runs and --seconds both say how long to measure; give one of them.")
    if options["warmup"] and options["mode"] == "throughput":
        raise click.UsageError("--warmup is about latency; give --mode latency or both, or leave it out.")
    if options["compare_anyway"] and options["compare"] is None:
        raise click.UsageError("--compare-anyway says how to compare; give --compare as well.")
    if overwrite and out is None:
        raise click.UsageError("--overwrite is about --out; give that as well.")


def _refuse_inputs(out: Path, models: Sequence[Path], options: Mapping[str, Any]) -> None:
    """Refuse to write over what is read, whether it may be replaced or not."""
    from segtool.data.loading import paths_of
    from segtool.files import refuse_input_as_output
    from segtool.models.resolve import run_files

    read = [file for path in models for file in (run_files(path) if path.is_dir() else [path])]
    compared = [options["compare"]] if options["compare"] else []
    refuse_input_as_output([out], [*read, *compared, *(paths_of(options["data"]) if options["data"] else [])])


def _say_noise(result: Row) -> None:
    """Warn where nothing may be ranked, and where the times had not settled."""
    noise, warmup = result["noise"], result["warmup"]
    if noise is not None and not noise["quiet"]:
        load = result["machine"]["load_average"]
        busy = f"; the load was {load[0]:.1f} at the start" if load else ""
        spoiled, outcome = _spoiled(result["models"])
        logger.warning(
            f"The machine is too noisy {spoiled}: two sessions of the same file differed by up to "
            f"{100 * noise['band']:.1f} %, at most {100 * noise['limit']:.0f} % is allowed{busy}. {outcome}; stop "
            "other programs, or measure longer with --seconds."
        )
    if warmup is not None and warmup["stable"] is False:
        logger.warning(f"The times had not settled after {warmup['rounds']} rounds of warm-up ({warmup['criterion']}).")


def _spoiled(rows: Sequence[Row]) -> tuple[str, str]:
    """Return what noise spoils of these cases, and what comes of it."""
    if len(rows) == 1:
        return "for exact times", "Take these for rough ones"
    what = "model" if len({row["path"] for row in rows}) > 1 else "setting"
    return f"to say which {what} is faster", "Nothing is ranked"


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
