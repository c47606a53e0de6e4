"""`segtool predict`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import EXIT_PARTLY, Command, emit_json, say
from segtool.cli.options import (
    FiniteRange,
    TileType,
    json_option,
    path_option,
    provider_option,
    threads_option,
)
from segtool.cli.predict_request import Request, inputs_of, request_of
from segtool.cli.ray_engine import engine_options, predict_with_ray
from segtool.cli.tables import emit_table
from segtool.stopping import end, finish_work
from segtool.text import counted, threads

if TYPE_CHECKING:
    from segtool.predict.manifest import Manifest

logger = logging.getLogger(__name__)


@click.command(cls=Command, name="predict")
@click.argument("images", nargs=-1, metavar="IMAGES...")
@path_option(
    "--model",
    "FILE",
    "An exported .onnx file, or a run folder.  [default: the recommended file of runs/latest; without runs/latest, the "
    "model that ships with segtool]",
)
@click.option(
    "--out",
    default="predictions",
    metavar="DIR",
    help="Folder for the label maps and manifest.json; sub-folders are mirrored.",
)
@provider_option
@threads_option
@click.option("--workers", type=click.IntRange(1), help="Threads that read images, run the model and write outputs.")
@click.option(
    "--overlay",
    is_flag=True,
    help="Also write each image with its regions in the colours of their classes, and a legend below.",
)
@click.option("--color", is_flag=True, help="Also write each label map as an RGB image in the colours of the classes.")
@click.option(
    "--contours",
    is_flag=True,
    help="Also write the regions of each class as GeoJSON polygons along pixel edges.",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write the probabilities, float32 (H, W, K), as .npz. Requires a model exported with --head "
    "probabilities or logits.",
)
@click.option(
    "--tile",
    type=TileType(),
    default="auto",
    help="How to process images larger than the model's input: auto follows the model's contract, never resizes the "
    "image, HxW cuts it into tiles of this size.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    help="Refuse images with more pixels than this; raise it for large images that you trust.  [default: 178956970]",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue a stopped or killed run in the same folder, with the same model and options. It "
    "keeps the outputs that exist and are not cut off. With --overwrite, it also replaces files that the run did not "
    "write, and starts again if the model or the options differ.",
)
@path_option(
    "--watch",
    "DIR",
    "Instead of IMAGES: segment the images in DIR, and images that arrive later, until Ctrl-C or SIGTERM. A file is "
    "read once it stops changing, and a failed one again after a change. A done one is read again only if it was "
    "removed and created again. manifest.json is written at the end.",
    exists=True,
    file_okay=False,
)
@click.option(
    "--watch-idle",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help="With --watch: stop after this time without a new image.",
)
@engine_options
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace existing outputs, and remove those of other kinds of the same images.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **options: Any) -> None:
    """Segment IMAGES and write a label map PNG for each.

    IMAGES are files, folders (searched recursively), patterns, or .npy files of uint8 images (N, H, W) or
    (N, H, W, C). A dash reads a list of paths from stdin, separated by line breaks or NULs. In folders, and with
    --watch, segtool reads files with the suffix of a supported format (PNG, JPEG, TIFF, WebP, AVIF, BMP, GIF, PNM,
    JPEG 2000, TGA, ICO, PSD, ...). It skips .npy files, names that begin with a dot, and the outputs of earlier runs
    there.

    A label map is a palette PNG: the value of a pixel is its class id, and viewers show it in colour. manifest.json
    lists the status of each input. An input that cannot be read does not stop the others (exit code 3). Ctrl-C
    and SIGTERM finish the images in progress (exit code 3); a second signal stops at once. --resume continues.

    \b
    Examples:
      segtool predict images/*.png
      segtool predict photos/ --model model.int8.onnx --overlay --out masks/
      find photos -name "*.jpg" -print0 | segtool predict - --resume
      segtool predict --watch incoming/ --out masks/
      segtool predict s3://bucket/photos --engine ray --ray-address auto --out s3://bucket/masks
    """
    from segtool.models.resolve import find_model
    from segtool.models.shipped import default_model

    request = request_of(**options)
    inputs = inputs_of(request)
    path = default_model() if request.model is None else find_model(request.model, kind="onnx").path
    if request.engine == "ray":
        manifest = predict_with_ray(ctx, path, inputs, request)
    else:
        manifest = _predict(path, inputs, request)
    _report(manifest, request, as_json=as_json)
    ctx.exit(_exit_code(manifest, is_watch=request.watch is not None))


def _predict(model: Path, inputs: Sequence[str], request: Request) -> Manifest:
    """Open the model and predict on this machine."""
    from PIL import Image

    from segtool.cli.progress import progress_bar
    from segtool.predict.predict import predict_paths
    from segtool.predict.watch import watch_folder
    from segtool.runtime.opening import load

    # --max-pixels is the limit. Pillow would also warn, from half of its own default limit.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    segmenter = load(
        model,
        provider=request.provider,
        threads=_threads(inputs, request),
        provider_options=request.provider_options,
    )
    say(f"{model}: {segmenter.provider}, {threads(segmenter.threads)}. {segmenter.provider_reason}")
    options = request.outputs
    with finish_work() as stop, progress_bar("images") as progress:
        if request.watch is None:
            return predict_paths(segmenter, inputs, options=options, progress=progress, stop=stop)
        say(f"Watching {request.watch}; Ctrl-C stops it.")
        folder, idle = request.watch, request.watch_idle
        return watch_folder(segmenter, folder, options=options, idle=idle, progress=progress, stop=stop)


def _threads(inputs: Sequence[str], request: Request) -> int | None:
    """Return the threads that --threads, the provider's own option or OMP_NUM_THREADS requests, in this order.

    Without a request, return 1 for several images, which then run in parallel, and None (all) for one image.

    On two cores, fcn8 in INT8 ran 1,674 images a second with parallel one-thread runs and 1,101 with two threads
    (benchmarks/results/export_engines.json).
    """
    from segtool.machine.processors import environment_threads
    from segtool.runtime.providers import sets_threads

    if request.threads is not None or sets_threads(request.provider_options):
        return request.threads
    return environment_threads() or (None if _is_one(inputs) else 1)


def _is_one(images: Sequence[str]) -> bool:
    return len(images) == 1 and Path(images[0]).is_file() and Path(images[0]).suffix.lower() != ".npy"


def _exit_code(manifest: Manifest, *, is_watch: bool) -> int:
    if manifest.interrupted:
        return EXIT_PARTLY
    counts = manifest.counts
    if counts["failed"]:
        return EXIT_PARTLY if counts["done"] or counts["skipped"] or is_watch else 1
    return 0


def _report(manifest: Manifest, request: Request, *, as_json: bool) -> None:
    counts = manifest.counts
    end()  # all outputs are written: a signal from here on has nothing to stop
    if as_json:
        emit_json("predict", manifest.to_dict())
    else:
        emit_table(
            ["written to", "images", "skipped", "failed", "manifest"],
            [[request.out, counts["done"], counts["skipped"], counts["failed"], request.manifest]],
        )
    if manifest.interrupted:
        logger.error(
            "Stopped: %s not run; %s lists them. Continue with --resume.",
            *(counted(counts["not_run"], "image"), request.manifest),
        )
