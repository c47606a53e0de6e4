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
    "Images with their truth, as in `segtool train`; of a run folder, or a model in one, the run's own where not given."
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the data.  [default: val of the data that a model was trained on, and of files that come "
    "in parts; else all, as of generated data that no model was trained on]",
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
    help="Also draw the confusion matrix of one model, each row a share of the true pixels, to a PNG file (needs the "
    "extra report).",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw images, truth and predictions side by side to a PNG file (needs the extra report): the first "
    "images of one model; of several, those on which the second differs most from the first.",
)
@click.option("--samples", type=click.IntRange(1, 16), help="How many images --pictures shows.  [default: 6]")
@click.option(
    "--boundary-width",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="How near to an outline the pixels of the boundary IoU are.  [default: 2 % of each image's diagonal]",
)
@click.option(
    "--resamples",
    type=click.IntRange(100),
    default=1000,
    show_default=True,
    help="How often images are drawn anew for the 95 % intervals.",
)
@provider_option
@threads_option
@overwrite_option
@json_option
def command(*, models: tuple[Path, ...], as_json: bool, resamples: int, **options: Any) -> None:
    """Score each MODEL (.onnx, .keras or a run folder; the latest run where none is given) on images with known truth.

    All figures come from one confusion matrix over all images. Means named foreground leave the background class
    out, and are the ones to compare: on M2NIST a model that finds nothing has 94 % pixel accuracy. Intervals are by
    the bootstrap over images.

    Several models are scored on the same images, and each is compared with the first: differences with paired
    intervals, the labels that agree, and the images on which they differ most.

    \b
    Examples:
      segtool evaluate runs/latest
      segtool evaluate model.int8.onnx --data test.npz --json
      segtool evaluate model.onnx model.int8.onnx --data test.npz --pictures differences.png
    """
    if options["samples"] is None:
        del options["samples"]
    elif options["pictures"] is None:
        raise click.UsageError("--samples says how many images --pictures shows; give --pictures FILE too.")
    if len(models) > 1 and options["confusion"] is not None:
        raise click.UsageError("--confusion draws the matrix of one model; name one, or leave it out.")
    from segtool.evaluate.evaluate import EvaluateOptions, wrong_outputs
    from segtool.metrics import Bootstrap
    from segtool.report.evaluation import require_drawing

    if options["overwrite"] and not any(options[name] for name in ("per_image", "confusion", "pictures")):
        raise click.UsageError(
            "--overwrite is about --per-image, --confusion and --pictures; give one of them as well."
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
    _say_written(result.written)


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
    _say_written(result.written)


def _say_written(paths: Any) -> None:
    for path in paths:
        say(f"Wrote {path}")
