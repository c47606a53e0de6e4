"""`segtool verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segtool.cli.common import Command, emit_json, error_console, printable
from segtool.cli.options import json_option, provider_option, say_provider, threads_option


def _advice(provider: str) -> str:
    """Return what to do about a file that failed."""
    if provider == "CPUExecutionProvider":
        remedy = "get the file again where it was copied, or export it again"
    else:
        remedy = "see with --provider cpu whether it is the file or the provider, then take another of the two"
    return f"Do not deploy this file here: its labels are not those of its export; {remedy}."


@click.command(cls=Command, name="verify", short_help="Run a model's built-in golden test on this machine.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@provider_option
@threads_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, model: Path | None, as_json: bool, **options: Any) -> None:
    """Run MODEL on the images that it carries, and compare with the labels that it gave when it was exported.

    MODEL is an .onnx file or a run folder; where it is not given the exported file of runs/latest, or, where
    there is no runs/latest, the model that ships with segtool.

    Exit code 4 where they differ by more than the tolerance. It needs no network and no data. The model is opened and
    run in a process of its own first, so that one which crashes onnxruntime is an error (exit code 1).
    """
    from segtool.errors import GateError
    from segtool.models.resolve import find_model
    from segtool.models.shipped import default_model
    from segtool.runtime.segmenter import load

    path = default_model() if model is None else find_model(model, kind="onnx").path
    segmenter = load(path, sandbox=True, **options)
    say_provider(segmenter.provider_report)
    result = segmenter.verify()
    if as_json:
        emit_json("verify", {**segmenter.provider_report, **result.to_dict()})
    else:
        click.echo(
            f"{printable(str(result.path))}: {'passed' if result.passed else 'FAILED'}, "
            f"{result.agreement:.4%} of {result.pixels} golden pixels "
            f"agree on {result.provider} (needed {result.required_agreement:.2%})"
        )
    if not result.passed:
        error_console().print(_advice(result.provider), style="red", markup=False, soft_wrap=True)
        ctx.exit(GateError.exit_code)
