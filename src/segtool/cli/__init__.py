"""The command line: click commands, each a thin wrapper of one public function."""

from __future__ import annotations

import importlib
from typing import Any

import click

import segtool
from segtool.cli.common import Group

_COMMANDS = {
    "train": "Train a network and write a run folder.",
    "export": "Convert a trained network to ONNX (FP32, INT8) and verify it.",
    "predict": "Segment images with an exported model.",
    "evaluate": "Score a model: IoU, Dice, accuracy, confusion matrix.",
    "benchmark": "Measure latency, throughput, cold start, memory and size.",
    "report": "Write one HTML page: deploy this model on this machine, or not.",
    "page": "Write a web page that runs a model in the browser.",
    "data": "Make, describe, check or convert a data set.",
    "info": "Show the inputs, outputs and measured results of a model file.",
    "verify": "Run a model's built-in golden test on this machine.",
    "doctor": "Check packages, providers, processor and folders.",
    "quickstart": "Run the full pipeline on built-in data in a few minutes.",
}


class LazyGroup(Group):
    """A group that imports the module of a command only when it runs, so that `segtool predict` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order of the pipeline."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command, or None for an unknown name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"segtool.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(segtool.__version__, prog_name="segtool")
def main(**_: Any) -> None:
    """Train segmentation networks and deploy them on small machines.

    \b
    These three commands run the full pipeline on built-in data, in an empty folder:
      segtool train                      # writes runs/<name>/, points runs/latest at it
      segtool export --quantize          # writes model.onnx and model.int8.onnx beside model.keras
      segtool predict images/*.png       # writes label maps and a manifest

    Results go to stdout (--json for programs). Messages and progress go to stderr. Exit codes: 0 done, 1 failed,
    2 wrong usage, 3 partly done, 4 a gate refused.
    """
