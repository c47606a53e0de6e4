"""`segtool evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from segtool.evaluate.evaluate import EvaluateOptions


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
    "--pictures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also draw images, ground truth and predictions side by side to a PNG file. For one "
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
def command(**options: Any) -> None:
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
    from segtool.evaluate.evaluation import Evaluation
    from segtool.report.evaluation import SAMPLES, evaluate_and_draw

    request = Request(**options)
    _refuse_wrong_usage(request)
    with progress_bar("images") as progress:
        result = evaluate_and_draw(
            request.models,
            options=request.options(),
            pictures=request.pictures,
            samples=request.samples or SAMPLES,
            progress=progress,
        )
    for evaluation in [result] if isinstance(result, Evaluation) else result.evaluations:
        say_provider(evaluation.provider)
    if request.as_json:
        emit_json("evaluate", result.to_dict())
    elif isinstance(result, Evaluation):
        report_evaluation(result)
    else:
        report_comparisons(result)
    for path in result.written:
        say(f"Wrote {path}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `segtool evaluate`, as click parsed them."""

    models: tuple[Path, ...]
    data: str | None
    split: str | None
    per_image: Path | None
    pictures: Path | None
    samples: int | None
    boundary_width: int | None
    resamples: int
    provider: str
    provider_options: Mapping[str, str]
    threads: int | None
    overwrite: bool
    as_json: bool

    def options(self) -> EvaluateOptions:
        """Return the data and how to score them."""
        from segtool.evaluate.evaluate import EvaluateOptions
        from segtool.metrics import Bootstrap

        return EvaluateOptions(
            data=self.data,
            split=self.split,
            per_image=self.per_image,
            boundary_width=self.boundary_width,
            bootstrap=Bootstrap(self.resamples),
            provider=self.provider,
            provider_options=self.provider_options,
            threads=self.threads,
            overwrite=self.overwrite,
        )


def _refuse_wrong_usage(request: Request) -> None:
    """Refuse options that exclude or need others."""
    from segtool.report.evaluation import wrong_pictures

    if request.samples is not None and request.pictures is None:
        raise click.UsageError("--samples needs --pictures; add --pictures FILE, or remove --samples.")
    if request.overwrite and not any((request.per_image, request.pictures)):
        raise click.UsageError("--overwrite needs --per-image or --pictures; add one of them, or remove --overwrite.")
    if wrong := wrong_pictures(request.pictures, request.per_image):
        raise click.UsageError(wrong)
