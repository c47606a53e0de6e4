"""`segtool evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segtool.cli.common import Command, emit_json, say
from segtool.cli.options import (
    data_option,
    json_option,
    overwrite_option,
    provider_option,
    say_provider,
    threads_option,
)


@click.command(cls=Command, name="evaluate", short_help="Score a model, or compare several on the same images.")
@click.argument("models", metavar="[MODEL]...", nargs=-1, type=click.Path(path_type=Path))
@data_option(
    "Images with masks, as in `segtool train`.  [default: the data of the run, for a run folder or a model in one]"
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the data.  [default: val for the data that the model was trained on and for data with parts; "
    "all otherwise]",
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
    help="Also draw the confusion matrix of one model to a PNG file, normalized over the true pixels of each row "
    "(needs the extra report).",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw images, ground truth and predictions side by side to a PNG file (needs the extra report). For one "
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
    show_default=True,
    help="Number of bootstrap samples for the 95 % intervals.",
)
@provider_option
@threads_option
@overwrite_option
@json_option
def command(*, models: tuple[Path, ...], as_json: bool, resamples: int, **options: Any) -> None:
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
    if options["samples"] is None:
        del options["samples"]
    elif options["pictures"] is None:
        raise click.UsageError("--samples needs --pictures; add --pictures FILE, or remove --samples.")
    if len(models) > 1 and options["confusion"] is not None:
        raise click.UsageError(f"--confusion needs one model, but {len(models)} are given; name one model.")
    from segtool.evaluate.evaluate import EvaluateOptions, wrong_outputs
    from segtool.metrics import Bootstrap
    from segtool.report.evaluation import require_drawing

    if options["overwrite"] and not any(options[name] for name in ("per_image", "confusion", "pictures")):
        raise click.UsageError(
            "--overwrite needs --per-image, --confusion or --pictures; add one of them, or remove --overwrite."
        )
    settings = EvaluateOptions(**options, bootstrap=Bootstrap(resamples))
    if wrong := wrong_outputs(settings):
        raise click.UsageError(wrong)
    require_drawing(settings)
    if len(models) > 1:
        _compare(models, settings, as_json=as_json)
    else:
        _evaluate(models[0] if models else None, settings, as_json=as_json)


def _evaluate(model: Path | None, options: Any, *, as_json: bool) -> None:
    from segtool.cli.progress import progress_bar
    from segtool.cli.scores import report_evaluation
    from segtool.evaluate.evaluate import evaluate
    from segtool.report.evaluation import draw_evaluation

    with progress_bar("images") as progress:
        result = evaluate(model, options=options, progress=progress)
    result = draw_evaluation(result, options)
    say_provider(result.provider)
    if as_json:
        emit_json("evaluate", result.to_dict())
    else:
        report_evaluation(result)
    _print_written(result.written)


def _compare(models: tuple[Path, ...], options: Any, *, as_json: bool) -> None:
    from segtool.cli.progress import progress_bar
    from segtool.cli.scores import report_comparisons
    from segtool.evaluate.compare import compare
    from segtool.report.evaluation import draw_comparison

    with progress_bar("images") as progress:
        result = compare(models, options=options, progress=progress)
    result = draw_comparison(result, options)
    for evaluation in result.evaluations:
        say_provider(evaluation.provider)
    if as_json:
        emit_json("evaluate", result.to_dict())
    else:
        report_comparisons(result)
    _print_written(result.written)


def _print_written(paths: Any) -> None:
    for path in paths:
        say(f"Wrote {path}")
