"""`segtool quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segtool.cli.common import WHOLE_FILES_KEPT, Command, emit_json, say
from segtool.cli.extras import need_all
from segtool.cli.options import NamedPath, json_option, seed_option
from segtool.cli.tables import emit_table
from segtool.text import percent


@click.command(cls=Command, name="quickstart", kept=WHOLE_FILES_KEPT)
@click.option(
    "--out",
    type=NamedPath(),
    default=Path("quickstart"),
    metavar="DIR",
    help="The folder of all outputs.",
)
@click.option("--images", type=click.IntRange(50), default=2000, help="Number of generated images.")
@click.option("--epochs", type=click.IntRange(1), default=12, help="Passes over the training images.")
@seed_option("Random seed of all steps.")
@json_option
def command(*, as_json: bool, **options: Any) -> None:
    """Train, export, quantize, predict and measure on built-in data, in a few minutes.

    The result is a table with the accuracy and the latency of the FP32 and INT8 files, and a picture of predictions.
    """
    need_all()
    from segtool.cli.live import LiveTraining
    from segtool.quickstart import QuickstartOptions, quickstart

    with LiveTraining() as live:
        summary = quickstart(QuickstartOptions(**options), listener=live, say=say)
    if as_json:
        emit_json("quickstart", summary)
        return
    emit_table(
        ["model", "size MB", "pixel accuracy %", "IoU %", "Dice %", "p50 ms", "p99 ms"],
        [
            [
                name,
                f"{row['size_bytes'] / 1e6:.1f}",
                *(percent(row[key]) for key in ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")),
                f"{row['latency_ms']['p50']:.2f}",
                f"{row['latency_ms']['p99']:.2f}",
            ]
            for name, row in summary["models"].items()
        ],
        title="Validation images, foreground means; one image, one thread, raw pixels to label map",
    )
    say(f"INT8 is {summary['speed']} on this machine.")
    say(f"Predictions beside the ground truth: {summary['files']['picture']}")
    say(f"Label maps: {summary['files']['labels']}/, the run: {summary['files']['run']}")
