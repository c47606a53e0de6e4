"""`segtool benchmark`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import EXIT_PARTLY, SCHEMA_VERSION, Command, emit_json, say
from segtool.cli.options import (
    FiniteRange,
    IntList,
    NamedPath,
    data_option,
    json_option,
    overwrite_option,
    path_option,
    provider_option,
    say_provider,
)
from segtool.errors import GateError

if TYPE_CHECKING:
    from segtool.benchmark.measure import MeasureOptions

Row = Mapping[str, Any]

logger = logging.getLogger(__name__)


@click.command(cls=Command, name="benchmark")
@click.argument("models", nargs=-1, type=NamedPath(), metavar="[RUN_OR_MODEL]...")
@data_option(
    "Images to run on; the accuracy on them is also measured.  [default: the images of the model's golden pair]"
)
@click.option(
    "--mode",
    type=click.Choice(["latency", "throughput", "both"]),
    default="both",
    help="latency: one run after the other. throughput: parallel sessions on all processors, --threads each.",
)
@provider_option
@click.option(
    "--threads",
    type=IntList(),
    default=(),
    help="Numbers of threads to measure.  [default: OMP_NUM_THREADS, otherwise 1]",
)
@click.option("--batch", type=IntList(), default="1", help="Batch sizes to measure.")
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1),
    help="Measuring time of each case and mode.  [default: 10]",
)
@click.option("--runs", type=click.IntRange(10), help="Least number of timed runs of each case, instead of --seconds.")
@click.option(
    "--warmup",
    type=click.IntRange(1),
    help="Warm-up rounds, not counted.  [default: 1 second per case, at least 3 rounds]",
)
@path_option(
    "--compare",
    "OLD.json",
    "Compare with the --out file of an earlier run. Exit code 4 if a case is slower by more than the noise (10 %, "
    "or the difference of a file to itself); 3 if the noise is too great to decide.",
)
@click.option(
    "--kit",
    is_flag=True,
    help="Write one file to send in, segtool-kit.json or --out: also verify, the time of each layer, and by default 1 "
    "thread and all. It contains no names and no paths. Exit code 4 if a file fails verify.",
)
@path_option("--out", "FILE", "Also write the JSON result to a file.")
@overwrite_option
@json_option
def command(
    *, models: tuple[Path, ...], kit: bool, as_json: bool, out: Path | None, overwrite: bool, **options: Any
) -> None:
    """Measure RUN_OR_MODELs on this machine: run folders or .onnx files; by default the latest run or shipped model.

    For a run folder, the exported files (FP32 and INT8) are measured.

    All cases are interleaved within one run (A, B, A, B, ...), so that other load on the machine affects all of them
    equally. Latency is end to end, from raw uint8 pixels to the label map; no outlier is removed. Cold start and peak
    memory are measured in new processes. A second session of the first model measures the noise: if the two sessions
    differ by more than 5 %, the models are not ranked. --provider accepts several names with commas.

    \b
    Examples:
      segtool benchmark
      segtool benchmark runs/a runs/b --data test.npz
      segtool benchmark model.onnx model.int8.onnx --threads 1,2 --batch 1,8 --json
      segtool benchmark model.int8.onnx --out before.json
      segtool benchmark model.int8.onnx --compare before.json     # exit code 4 if it got slower
      segtool benchmark model.onnx model.int8.onnx --kit          # one file to send in, from any board
    """
    from segtool.benchmark.kit import KIT_NAME, kit_of, kit_options, verify_files
    from segtool.benchmark.measure import MeasureOptions, default_files, measure
    from segtool.cli.progress import stages_bar
    from segtool.files import refuse_existing, write_json
    from segtool.models.resolve import exported_files

    request = MeasureOptions(**options)
    _check(request, kit=kit, out=out, overwrite=overwrite)
    if kit:
        request, out = kit_options(request), out or Path(KIT_NAME)
    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    files = exported_files(models) or default_files()
    if out is not None:
        _refuse_inputs(out, [*files, *models], request)
    verified = verify_files(files, request) if kit else None
    with stages_bar() as progress:
        result = measure(files, options=request, progress=progress)
    written = result if verified is None else kit_of(result, verified)
    if out is not None:
        write_json(out, {"schema_version": SCHEMA_VERSION, "command": "benchmark", **written})
    for row in {row["provider_reason"]: row for row in result["models"]}.values():
        say_provider(row)
    if as_json:
        emit_json("benchmark", written)
    else:
        from segtool.cli.benchmark_tables import report_benchmark

        report_benchmark(result)
    _warn_about_noise(result)
    _judge(result)
    if verified is not None:
        _end_kit(out, verified)


def _check(request: MeasureOptions, *, kit: bool, out: Path | None, overwrite: bool) -> None:
    """Refuse options that contradict each other or have no effect."""
    if kit and request.compare:
        raise click.UsageError("--kit and --compare exclude each other; give one of them.")
    if request.runs and request.seconds:
        raise click.UsageError("--runs and --seconds exclude each other; give one of them.")
    if request.warmup and request.mode == "throughput":
        raise click.UsageError("--warmup applies to latency; use --mode latency or both, or remove --warmup.")
    if overwrite and out is None and not kit:
        raise click.UsageError("--overwrite needs --out; add --out FILE.")


def _refuse_inputs(out: Path, models: Sequence[Path], request: MeasureOptions) -> None:
    """Refuse to replace an input file with the output, also with --overwrite."""
    from segtool.data.loading import paths_of
    from segtool.files import refuse_input_as_output
    from segtool.models.resolve import run_files

    read = [file for path in models for file in (run_files(path) if path.is_dir() else [path])]
    compared = [request.compare] if request.compare else []
    refuse_input_as_output([out], [*read, *compared, *(paths_of(request.data) if request.data else [])])


def _warn_about_noise(result: Row) -> None:
    """Warn if the noise prevents a ranking."""
    noise = result["noise"]
    if noise is not None and not noise["quiet"]:
        load = result["machine"]["load_average"]
        busy = f", and the load was {load[0]:.1f} at the start" if load else ""
        spoiled, outcome = _spoiled(result["models"])
        logger.warning(
            f"The machine is too noisy {spoiled}: two sessions of the same file differed by up to "
            f"{100 * noise['band']:.1f} %. The limit is {100 * noise['limit']:.0f} %{busy}. {outcome}; stop "
            "other programs, or measure longer with --seconds."
        )


def _spoiled(rows: Sequence[Row]) -> tuple[str, str]:
    """Return what the noise prevents for these cases, and the consequence."""
    if len(rows) == 1:
        return "for exact times", "These times are approximate"
    what = "model" if len({row["path"] for row in rows}) > 1 else "setting"
    return f"to decide which {what} is faster", "There is no ranking"


def _judge(result: Row) -> None:
    """Exit with 4 if a case got slower, and with 3 if the noise is too great to decide."""
    comparison = result.get("comparison")
    if comparison is None:
        return
    for text, cases in (("this one", comparison["only_new"]), ("the earlier benchmark", comparison["only_old"])):
        if cases:
            say(f"Not compared, because only in {text}: {', '.join(cases)}.")
    slower = [row for row in comparison["rows"] if row["verdict"] == "slower"]
    if slower:
        worst = max(slower, key=lambda row: float(row["ratio"]))
        raise GateError(
            f"{len(slower)} of {len(comparison['rows'])} measurements got slower by more than the noise band of "
            f"{100 * worst['band']:.1f} %; the worst is {worst['path']} ({worst['quantity']}), by a factor of "
            f"{worst['ratio']:.2f}. Find what changed since {comparison['with']}, or measure again on a quiet machine."
        )
    if any(row["verdict"] == "undecided" for row in comparison["rows"]):
        logger.warning(
            "The comparison is undecided: the noise hides relevant differences; measure again on a quiet machine."
        )
        click.get_current_context().exit(EXIT_PARTLY)


def _end_kit(out: Path | None, verified: Mapping[Path, Sequence[Row]]) -> None:
    """Print what to do with the file; exit with 4 if a file failed its golden test."""
    say(
        f"{out} contains the processor, the versions and these figures, and no names or paths. Read it, then attach it "
        "to an issue of the project, with the name of the board."
    )
    failed = [path for path, rows in verified.items() if not all(row["passed"] for row in rows)]
    if failed:
        raise GateError(
            f"{', '.join(map(str, failed))} failed the golden test, so its labels are wrong on this machine; expected "
            f"the labels of the export. Send {out} anyway, and do not use the file here."
        )
