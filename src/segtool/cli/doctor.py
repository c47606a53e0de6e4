"""`segtool doctor`."""

from __future__ import annotations

import click

from segtool.cli.common import Command, emit_json
from segtool.cli.options import json_option
from segtool.cli.tables import emit_table
from segtool.errors import SegtoolError


@click.command(cls=Command, name="doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Check the packages, providers, processor and threads, and print what to do about each finding.

    Each provider that onnxruntime lists runs a tiny model. Nothing is sent over the network. Exit code 1 reports an
    error: segtool fails or gives wrong results here. With warnings and notes only, the exit code is 0.
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
