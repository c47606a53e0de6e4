"""`segtool doctor`."""

from __future__ import annotations

import click

from segtool.cli.common import Command, emit_json
from segtool.cli.options import json_option
from segtool.cli.tables import emit_table
from segtool.errors import SegtoolError


@click.command(cls=Command, name="doctor", short_help="Show what this machine has: packages, providers, processor.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Show the packages, the providers, the processor and the folders, and what to do about each finding.

    Every provider that onnxruntime lists is made to run a tiny model. Nothing is sent anywhere. Exit code 1 where
    something is broken: segtool fails, or does not do what it says; warnings and notes leave it at 0.
    """
    from segtool.doctor.environment import examine

    report = examine()
    if as_json:
        emit_json("doctor", report)
    else:
        emit_table(["fact", "value"], [[key, value] for key, value in report["facts"].items()], text=True)
        emit_table(
            ["severity", "finding", "what to do"],
            [[item["severity"], item["finding"], item["remedy"]] for item in report["findings"]] or [["-", "none", ""]],
            text=True,
        )
    if report["status"] == "broken":
        ctx.exit(SegtoolError.exit_code)
