"""`segtool doctor`."""

from __future__ import annotations

import click

from segtool.cli.common import Command, emit_json, emit_table
from segtool.cli.options import json_option


@click.command(cls=Command, name="doctor", short_help="Show what this machine has: packages, providers, processor.")
@json_option
def command(*, as_json: bool) -> None:
    """Show the packages, the providers that onnxruntime lists, the processor, and what to do about each finding."""
    from segtool.runtime.environment import examine

    report = examine()
    if as_json:
        emit_json("doctor", report)
        return
    emit_table(["fact", "value"], [[key, value] for key, value in report["facts"].items()], text=True)
    emit_table(
        ["finding", "what to do"],
        [[item["finding"], item["advice"]] for item in report["findings"]] or [["nothing", ""]],
    )
