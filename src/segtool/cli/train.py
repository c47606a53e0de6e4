"""`segtool train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from segtool.cli.common import Command, arguments_as_given, say_when_stopped
from segtool.cli.extras import need_all, need_training
from segtool.cli.options import FiniteRange, NamedPath, SizeType, json_option, seed_option
from segtool.cli.recipe_options import recipe_help, recipe_options
from segtool.cli.train_summary import print_summary
from segtool.errors import TrainingError
from segtool.export.presets import PRESET_NAMES
from segtool.train.architectures import ARCHITECTURES
from segtool.train.architectures.encoders import DEFAULT, ENCODERS
from segtool.train.options import AUTO, RANGES, TrainOptions, TrainResult, refuse_with_qat
from segtool.train.precision import DEVICES, PRECISIONS
from segtool.train.recipes import IMAGENET, NONE, RECIPES


@click.command(cls=Command, name="train", short_help="Train a network and write a run folder.")
@click.option(
    "--data",
    default=TrainOptions.data,
    show_default=True,
    metavar="SPEC",
    help="Training data: a folder with combined.npy and segmented.npy, an .npz with images and labels, a folder "
    "with images/ and masks/, or m2nist-synthetic[:N] for generated images of handwritten digits.",
)
@click.option(
    "--arch",
    type=click.Choice([AUTO, *ARCHITECTURES]),
    default=TrainOptions.arch,
    show_default=True,
    help="The network. fcn8-lite has a pretrained encoder and is for photographs. fcn8-edge is for small images; -half "
    "and -double have half (at least 16) and twice its channels. fcn8 is the original FCN-8. auto selects fcn8-lite "
    "for images with sides of 128 pixels or more, else fcn8-edge.",
)
@click.option(
    "--encoder",
    type=click.Choice(list(ENCODERS)),
    help=f"The encoder of fcn8-lite. {'; '.join(f'{name}: {item.summary}' for name, item in ENCODERS.items())}.  "
    f"[default: {DEFAULT}]",
)
@click.option(
    "--weights",
    metavar=f"{NONE}|{IMAGENET}|FILE",
    help=f"The initial weights: {IMAGENET} for those of the encoder, {NONE} for random ones, or a run, a .keras file "
    "or the file of an encoder (.pth or .h5), whose layers of the same name and shape are used.  [default: imagenet "
    "for fcn8-lite, else none]",
)
@click.option(
    "--width",
    type=FiniteRange(*RANGES["width"]),
    default=TrainOptions.width,
    show_default=True,
    help="Multiplier of the number of channels of each layer, rounded to multiples of 8; for fcn8-lite, of the layers "
    "of the decoder, in multiples of 16.",
)
@click.option(
    "--recipe",
    type=click.Choice([AUTO, *RECIPES]),
    default=TrainOptions.recipe,
    show_default=True,
    help=recipe_help(),
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training images.  [default: from the recipe]")
@click.option("--batch-size", type=click.IntRange(1), help="Images per step.  [default: from the recipe]")
@recipe_options
@click.option(
    "--val-split",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=TrainOptions.val_split,
    show_default=True,
    help="Fraction of the images for validation. The best epoch is selected on them.",
)
@click.option(
    "--test-split",
    type=FiniteRange(0, 1, max_open=True),
    default=TrainOptions.test_split,
    show_default=True,
    help="Fraction of the images for the test. Nothing is selected on them.",
)
@click.option("--size", type=SizeType(), help="Resize the images to this size.  [default: the size of the data]")
@click.option(
    "--crop",
    type=SizeType(),
    help="Train on random crops of this size, at the original scale: for images of more than a few hundred pixels, or "
    "of different sizes. The exported model then predicts larger images in tiles. An epoch has as many crops as fit "
    "into the images.",
)
@click.option(
    "--rare-crops",
    type=FiniteRange(0, 1),
    default=TrainOptions.rare_crops,
    show_default=True,
    metavar="FRACTION",
    help="Fraction of the crops that are drawn around a random class of the image; shows rare classes more often.",
)
@click.option(
    "--qat",
    metavar="RUN",
    help="Quantization-aware training: train the network of this run further, for a few epochs with a small learning "
    "rate, while it rounds as its INT8 file will. Data, split and recipe are the run's, unless given.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESET_NAMES),
    help="With --qat: the processor of the INT8 file, as for segtool export.  [default: auto]",
)
@seed_option("Seed of the split, the weights, the order and the augmentation.")
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default=TrainOptions.device,
    show_default=True,
    help="auto uses a GPU if one is available; gpu fails without one.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=TrainOptions.precision,
    show_default=True,
    help="auto selects the best precision for this machine and prints the reason.",
)
@click.option(
    "--out",
    type=NamedPath(),
    metavar="DIR",
    help="The run folder.  [default: runs/<arch>-<date>-<time>]",
)
@click.option("--resume", is_flag=True, help="Continue the stopped or killed run in --out, or the latest run.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, *, resume: bool, out: Path | None, as_json: bool, preset: str | None, **options: Any
) -> None:
    """Train a segmentation network and write a run folder.

    The folder contains model.keras (the best epoch on validation), history.csv, metrics.json, curves.png,
    predictions.png and a checkpoint. From the start of the training, runs/latest points at the folder, also with
    --out. `segtool export` uses runs/latest.

    KERAS_BACKEND=jax or torch trains on that library. To train on several machines, run the same command on each one,
    with TF_CONFIG set as TensorFlow documents it. The first worker writes the run folder.

    \b
    Examples:
      segtool train
      segtool train --data my_photos/
      segtool train --augment shift:8,scale,brightness --loss combined
      segtool train --data street_scenes/ --crop 192x192 --rare-crops 0.5
      segtool train --qat runs/latest
      segtool train --resume
    """
    request = _parse(ctx, resume=resume, out=out, preset=preset, options=options)
    need_all() if request.qat else need_training()
    print_summary(_run(request), as_json=as_json)


_WHOLE_IMAGES = frozenset(name for name, recipe in RECIPES.items() if not recipe.crop_pixels)


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `segtool train`.

    Attributes
    ----------
    options
        The options of a new run; None to resume one, and with --qat.
    expected
        For --resume and --qat: the values of the given options, under the names of `TrainOptions`.
    out
        The run folder; None for the default.
    qat
        The run whose network is trained further in fake quantization.
    preset
        The processor that its INT8 file is for.
    """

    options: TrainOptions | None
    expected: Mapping[str, Any]
    out: Path | None
    qat: str | None = None
    preset: str = "auto"


def _parse(
    ctx: click.Context,
    *,
    resume: bool,
    out: Path | None,
    preset: str | None,
    options: Mapping[str, Any],
) -> Request:
    """Return the request; refuse options that require another option, or exclude it."""
    qat = options["qat"]
    if preset is not None and (resume or qat is None):
        raise click.UsageError("--preset is for a new training with --qat; add --qat RUN, or remove --preset.")
    given = {name: options[name] for name in options if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if resume:
        return Request(options=None, expected=given, out=out)
    if options["rare_crops"] and options["crop"] is None and options["recipe"] in _WHOLE_IMAGES:
        raise click.UsageError(
            "--rare-crops needs crops, and this recipe trains on whole images; add --crop HxW, or remove --rare-crops."
        )
    try:
        if qat:
            changes = {name: value for name, value in given.items() if name != "qat"}
            refuse_with_qat(changes)
            return Request(options=None, expected=changes, out=out, qat=qat, preset=preset or "auto")
        return Request(options=TrainOptions(**options), expected={}, out=out)
    except TrainingError as error:
        raise click.UsageError(str(error)) from error


def _run(request: Request) -> TrainResult:
    """Train or resume, with live progress."""
    from segtool.cli.live import LiveTraining
    from segtool.train.trainer import resume, train

    live = LiveTraining()
    say_when_stopped(lambda: _stopped(live.finished, request))
    with live:
        if request.qat:
            from segtool.qat import train_quantized

            result = train_quantized(
                request.qat,
                given=request.expected,
                preset=request.preset,
                out=request.out,
                listener=live,
                arguments=arguments_as_given(),
            )
        elif request.options is None:
            result = resume(request.out, expected=request.expected, listener=live)
        else:
            result = train(request.options, out=request.out, listener=live, arguments=arguments_as_given())
    say_when_stopped(lambda: f"Stopped after the training; the run in {result.folder} is complete.")
    return result


def _stopped(epochs: int | None, request: Request) -> str:
    """Return the message for a training that was stopped after N epochs; None means before the first epoch."""
    if epochs is None:
        unchanged = "no model was written" if request.options or request.qat else "the run is unchanged"
        return f"Stopped before the training began; {unchanged}."
    again = f"`segtool train --resume{f' --out {shlex.quote(str(request.out))}' if request.out else ''}`"
    if epochs == 0:
        return f"Stopped in the first epoch: no model was written; {again} starts it again."
    kept = "The finished epoch is" if epochs == 1 else f"The {epochs} finished epochs are"
    return f"Stopped. {kept} kept: {again} continues from there."
