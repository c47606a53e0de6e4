"""`segtool predict`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import EXIT_PARTLY, Command, emit_json, emit_table, say
from segtool.cli.options import TileType, json_option, model_option, overwrite_option, provider_option, threads_option
from segtool.cli.ray_engine import engine_options, predict_with_ray, refuse_for_local

if TYPE_CHECKING:
    from segtool.runtime.predict import Manifest

logger = logging.getLogger(__name__)


@click.command(cls=Command, name="predict", short_help="Segment images with an exported model.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@model_option
@click.option(
    "--out",
    default="predictions",
    show_default=True,
    metavar="DIR",
    help="Where the label maps and manifest.json go; sub-folders are mirrored.",
)
@provider_option
@threads_option
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Threads that decode images ahead of the model.  [default: one more than the processors]  With --engine ray, "
    "segmenters on the cluster, which start and restart where there is room.  [default: what the cluster has room for]",
)
@click.option("--overlay", is_flag=True, help="Also write each image with its classes blended over it.")
@click.option("--color", is_flag=True, help="Also write each label map as an RGB picture in the classes' colours.")
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write float32 (H, W, K) probabilities as .npz; needs a model exported with --head probabilities "
    "or logits.",
)
@click.option(
    "--tile",
    type=TileType(),
    default="auto",
    show_default=True,
    help="What to do with images larger than the model's input: auto does as the model's contract says, never "
    "resizes, HxW tiles.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    help="Refuse images of more pixels before they are decoded; raise it for huge ones that you trust.  "
    "[default: 178956970]",
)
@engine_options
@overwrite_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, *, images: tuple[str, ...], model: Path | None, as_json: bool, **options: Any
) -> None:
    """Segment IMAGES (files, folders or patterns) and write a label map PNG for each.

    A label map is a palette PNG: the value of a pixel is its class id, and viewers show it in colour. manifest.json
    says for each input what became of it. An input that cannot be read does not stop the others (exit code 3).

    \b
    Examples:
      segtool predict images/*.png
      segtool predict photos/ --model model.int8.onnx --overlay --out masks/
      segtool predict s3://bucket/photos --engine ray --ray-address auto --out s3://bucket/masks
    """
    from PIL import Image

    from segtool.cli.live import progress_bar
    from segtool.models.resolve import find_model, latest_exported
    from segtool.runtime.predict import PredictOptions, predict_paths
    from segtool.runtime.segmenter import load

    # The limit is --max-pixels; Pillow would also warn, from half of its default on.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    engine = options.pop("engine")
    if engine == "local":
        refuse_for_local(images, options["out"], options.pop("ray_address"))
    path = latest_exported() if model is None else find_model(model, kind="onnx").path
    if engine == "ray":
        predict_with_ray(ctx, path, images, options, as_json=as_json)
        return
    options["out"] = Path(options["out"])
    provider, threads = options.pop("provider"), options.pop("threads")
    segmenter = load(path, provider=provider, threads=threads or _best_threads(images))
    say(f"{path}: {segmenter.provider}, {segmenter.threads} threads. {segmenter.provider_reason}")
    try:
        with progress_bar("images") as progress:
            given = PredictOptions(**{key: value for key, value in options.items() if value is not None})
            manifest = predict_paths(segmenter, images, options=given, progress=progress)
    except KeyboardInterrupt:
        written = options["out"] / "manifest.json"
        done = f"{written} says what was done" if written.exists() else "nothing was written yet"
        logger.error("Stopped: %s.", done)  # noqa: TRY400
        ctx.exit(EXIT_PARTLY)
    _report(manifest, options["out"], as_json=as_json)
    if manifest.failed:
        ctx.exit(EXIT_PARTLY if manifest.done else 1)


def _best_threads(images: Sequence[str]) -> int | None:
    """Return one thread for several images, which then run side by side; None (all) for the least time of one.

    On two cores, fcn8 in INT8 ran 1,674 images a second with one-thread runs side by side and 1,101 with two threads
    (benchmarks/results/export_engines.json).
    """
    return None if len(images) == 1 and Path(images[0]).is_file() else 1


def _report(manifest: Manifest, out: Path, *, as_json: bool) -> None:
    for entry in manifest.entries:
        if entry.error:
            logger.error("%s", entry.error)
    if as_json:
        emit_json("predict", manifest.to_dict())
        return
    emit_table(
        ["written to", "images", "failed", "manifest"],
        [[out, manifest.done, manifest.failed, out / "manifest.json"]],
    )
