"""`segtool verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segtool.cli.common import Command, emit_json, error_console, printable
from segtool.cli.options import NamedPath, json_option, provider_option, say_provider, threads_option


def _advice(provider: str) -> str:
    """Return the advice for a file that failed."""
    if provider == "CPUExecutionProvider":
        remedy = "copy the file again, or export it again"
    else:
        remedy = "run again with --provider cpu: if it passes, use another provider, otherwise export the file again"
    return f"Do not deploy this file on this machine: its labels differ from those of the export; {remedy}."


@click.command(cls=Command, name="verify")
@click.argument("model", required=False, type=NamedPath())
@provider_option
@threads_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, model: Path | None, as_json: bool, **options: Any) -> None:
    """Run MODEL on its built-in images and compare the labels with those of the export.

    MODEL is an .onnx file or a run folder. The default is the exported file of runs/latest; without runs/latest, the
    model that ships with segtool.

    Exit code 4 if the labels differ by more than the tolerance. The command needs no network and no data. It first
    runs the model in a separate process, so that a model that crashes onnxruntime is an error (exit code 1).
    """
    from segtool.errors import GateError
    from segtool.models.resolve import find_model
    from segtool.models.shipped import default_model
    from segtool.runtime.opening import load

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
