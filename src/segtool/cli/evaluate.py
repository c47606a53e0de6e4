"""`segtool evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import Command, emit_json, emit_table, percent, say
from segtool.cli.options import (
    data_option,
    json_option,
    overwrite_option,
    provider_option,
    say_provider,
    threads_option,
)

if TYPE_CHECKING:
    from segtool.report.evaluate import Evaluation


@click.command(cls=Command, name="evaluate", short_help="Score a model: IoU, Dice, accuracy, confusion matrix.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@data_option(
    "Images with their truth, as in `segtool train`; of a run folder, or a model in one, the run's own where not given."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the data.  [default: val of the data that the model was trained on, and of data that comes "
    "in parts; else all]",
)
@click.option(
    "--per-image",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the scores of each image to a CSV file.",
)
@click.option(
    "--confusion",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw the confusion matrix, each row a share of the true pixels, to a PNG file (needs the extra report).",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw images, truth and predictions side by side, with the IoU and Dice of each class, to a PNG file "
    "(needs the extra report).",
)
@click.option("--samples", type=click.IntRange(1, 16), help="How many images --pictures shows.  [default: 6]")
@provider_option
@threads_option
@overwrite_option
@json_option
def command(*, model: Path | None, as_json: bool, **options: Any) -> None:
    """Score MODEL (.onnx, .keras or a run folder; the latest run where not given) on images with known truth.

    All figures come from one confusion matrix over all images. Means named foreground leave the background class
    out, and are the ones to compare: on M2NIST a model that finds nothing has 94 % pixel accuracy.

    \b
    Examples:
      segtool evaluate runs/latest
      segtool evaluate model.int8.onnx --data test.npz --json
    """
    if options["samples"] is None:
        del options["samples"]
    elif options["pictures"] is None:
        raise click.UsageError("--samples says how many images --pictures shows; give --pictures FILE too.")
    from segtool.cli.progress import progress_bar
    from segtool.report.evaluate import EvaluateOptions, evaluate

    with progress_bar("images") as progress:
        result = evaluate(model, options=EvaluateOptions(**options), progress=progress)
    say_provider(result.provider)
    if as_json:
        emit_json("evaluate", result.to_dict())
    else:
        _report(result)


def _report(result: Evaluation) -> None:
    scores = result.scores
    emit_table(
        ["class", "IoU %", "Dice %", "true pixels"],
        [
            *(
                [item["name"], percent(item["iou"]), percent(item["dice"]), item["support"]]
                for item in scores.to_dict()["classes"]
            ),
            ["mean, foreground", percent(scores.foreground_mean_iou), percent(scores.foreground_mean_dice), ""],
            ["mean, all", percent(scores.mean_iou), percent(scores.mean_dice), ""],
        ],
        title=f"{result.model} on {result.data} ({result.split}, {scores.images} images): pixel accuracy "
        f"{percent(scores.pixel_accuracy)} %",
    )
    say(scores.to_dict()["convention"])
    for path in result.written:
        say(f"Wrote {path}")
