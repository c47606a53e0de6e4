"""`segtool report`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from segtool.cli.common import WHOLE_FILES_KEPT, Command, emit_json, say
from segtool.cli.options import (
    NamedPath,
    data_option,
    json_option,
    overwrite_option,
    path_option,
    provider_option,
    split_option,
)
from segtool.cli.tables import emit_table
from segtool.text import megabytes, percent


@click.command(cls=Command, name="report", kept=WHOLE_FILES_KEPT)
@click.argument("models", nargs=-1, type=NamedPath(), metavar="[RUN_OR_MODEL]...")
@data_option("Images with masks, for all models.  [default: the data of the run, for a run folder or a model in one]")
@split_option
@path_option(
    "--out",
    "FILE.html",
    "The page; the figures are also written to FILE.html.json.  [default: report.html in the run folder, or in "
    "this folder for files without a run and for several runs]",
    dir_okay=False,
)
@path_option("--plots", "DIR", "Also write each chart to DIR, as SVG and PNG.", file_okay=False)
@click.option(
    "--no-latency",
    "latency",
    is_flag=True,
    callback=lambda _ctx, _param, given: not given,
    help="Do not measure the latency.",
)
@click.option("--runs", type=click.IntRange(10), help="Timed runs of each model.  [default: 200]")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Threads for one run of the model.  [default: OMP_NUM_THREADS, otherwise 1]",
)
@click.option(
    "--samples",
    type=click.IntRange(0, 24),
    default=6,
    help="Number of worst and best images to show.",
)
@provider_option
@overwrite_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, models: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Write one HTML page on RUN_OR_MODELs: run folders, .onnx or .keras files; by default the latest run.

    The page recommends the file to deploy on this machine and gives the reasons: accuracy with its conventions, worst
    and best images, FP32 against INT8, latency, training, contract, and the commands to reproduce it. It is one file
    that loads nothing from the network. For a run folder, the exported files are compared. All models are scored on the
    same images, as by `segtool evaluate`. The command needs the extra report.

    Exit code 4 if a file fails its built-in golden test; the page is still written and shows the failure.

    \b
    Examples:
      segtool report
      segtool report runs/a runs/b --split test --out compared.html
      segtool report model.int8.onnx --data test.npz --no-latency
    """
    from segtool.cli.info import graph_facts
    from segtool.cli.progress import stages_bar
    from segtool.errors import GateError
    from segtool.report.page import ReportOptions, report, wrong_page

    request = ReportOptions(**options)
    if request.runs is not None and not request.latency:
        raise click.UsageError("--runs and --no-latency exclude each other; give one of them.")
    if wrong := wrong_page(request.out):
        raise click.UsageError(wrong)
    with stages_bar() as progress:
        found, written = report(models, options=request, graph=graph_facts, progress=progress)
    for path in written:
        say(f"Wrote {path}")
    if as_json:
        emit_json("report", {"written": [str(path) for path in written], **found})
    else:
        _summary(found)
    if any(model["golden"] and not model["golden"]["passed"] for model in found["models"]):
        ctx.exit(GateError.exit_code)


def _summary(found: Mapping[str, Any]) -> None:
    """Print a row for each model, the checks that it did not pass, and why no model is named best."""
    models, verdict = found["models"], found["verdict"]
    words = {"yes": "yes", "care": "yes, but", "no": "no"}
    rows = [
        [
            model["label"] + (" *" if model["id"] == verdict["model"] else ""),
            words[model["verdict"]["answer"]],
            percent(model["evaluation"]["foreground_mean_iou"]),
            f"{model['benchmark']['latency_ms']['p50']:.2f}" if model["benchmark"] else "-",
            megabytes(model["size_bytes"]),
        ]
        for model in models
    ]
    emit_table(["model (* to deploy)", "deploy?", "foreground IoU %", "p50 ms", "size MB"], rows)
    for model in models:
        for check in model["verdict"]["checks"]:
            if check["status"] != "pass":
                say(f"{model['label']}: {check['name']}: {check['text']} {check['note']}".rstrip())
    if verdict["reason"]:
        say(verdict["reason"])
