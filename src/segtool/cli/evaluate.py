"""`segtool evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segtool.cli.common import Command, emit_json, say
from segtool.cli.options import (
    NamedPath,
    data_option,
    json_option,
    overwrite_option,
    path_option,
    provider_option,
    say_provider,
    split_option,
    threads_option,
)


@click.command(cls=Command, name="evaluate")
@click.argument("models", metavar="[MODEL]...", nargs=-1, type=NamedPath())
@data_option(
    "Images with masks, as in `segtool train`.  [default: the data of the run, for a run folder or a model in one]"
)
@split_option
@path_option("--per-image", "FILE", "Also write the scores of each image to a CSV file.")
@path_option(
    "--pictures",
    "FILE",
    "Also draw images, ground truth and predictions side by side to a PNG file. For one "
    "model: the first images. For several: the images with the greatest difference between the first two.",
)
@click.option("--samples", type=click.IntRange(1, 16), help="Number of images in --pictures.  [default: 6]")
@click.option(
    "--boundary-width",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Maximum distance from an outline to the pixels of the boundary IoU.  [default: 2 % of the image diagonal]",
)
@click.option(
    "--resamples",
    type=click.IntRange(100),
    default=1000,
    help="Number of bootstrap samples for the 95 % intervals.",
)
@provider_option
@threads_option
@overwrite_option
@json_option
def command(
    *,
    models: tuple[Path, ...],
    pictures: Path | None,
    samples: int | None,
    resamples: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Score each MODEL (.onnx, .keras or a run folder; by default the latest run) on images with ground truth.

    All figures come from one confusion matrix over all images. Foreground means exclude the background class; use
    them for comparisons. On M2NIST, a model that predicts only background has 94 % pixel accuracy. Intervals are
    bootstrap intervals over images.

    Several models are scored on the same images, and each one is compared with the first: differences with paired
    intervals, the percentage of equal labels, and the images with the greatest differences.

    \b
    Examples:
      segtool evaluate runs/latest
      segtool evaluate model.int8.onnx --data test.npz --json
      segtool evaluate model.onnx model.int8.onnx --data test.npz --pictures differences.png
    """
    from segtool.cli.progress import progress_bar
    from segtool.cli.scores import report_comparisons, report_evaluation
    from segtool.evaluate.evaluate import EvaluateOptions
    from segtool.evaluate.evaluation import Evaluation
    from segtool.metrics import Bootstrap
    from segtool.report.evaluation import SAMPLES, evaluate_and_draw, wrong_pictures

    request = EvaluateOptions(bootstrap=Bootstrap(resamples), **options)
    if samples is not None and pictures is None:
        raise click.UsageError("--samples needs --pictures; add --pictures FILE, or remove --samples.")
    if request.overwrite and not (request.per_image or pictures):
        raise click.UsageError("--overwrite needs --per-image or --pictures; add one of them, or remove --overwrite.")
    if wrong := wrong_pictures(pictures, request.per_image):
        raise click.UsageError(wrong)
    with progress_bar("images") as progress:
        result = evaluate_and_draw(
            models, options=request, pictures=pictures, samples=samples or SAMPLES, progress=progress
        )
    for evaluation in [result] if isinstance(result, Evaluation) else result.evaluations:
        say_provider(evaluation.provider)
    if as_json:
        emit_json("evaluate", result.to_dict())
    elif isinstance(result, Evaluation):
        report_evaluation(result)
    else:
        report_comparisons(result)
    if len(models) > 2 and pictures in result.written:
        say(f"The pictures compare the first two models, {models[0]} and {models[1]}.")
    for path in result.written:
        say(f"Wrote {path}")
