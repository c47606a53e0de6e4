"""`segtool predict`."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segtool.cli.common import EXIT_PARTLY, Command, emit_json, error_console, say
from segtool.cli.options import (
    FiniteRange,
    TileType,
    json_option,
    model_option,
    overwrite_option,
    provider_option,
    threads_option,
)
from segtool.cli.ray_engine import engine_options, predict_with_ray, refuse_for_local, refuse_for_ray
from segtool.cli.tables import emit_table
from segtool.errors import DataError
from segtool.gc_pause import gc_paused
from segtool.stopping import end, finish_work

if TYPE_CHECKING:
    from segtool.predict.manifest import Manifest
    from segtool.runtime.segmenter import Segmenter

logger = logging.getLogger(__name__)


@click.command(cls=Command, name="predict", short_help="Segment images with an exported model.")
@click.argument("images", nargs=-1, metavar="IMAGES...")
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
@click.option("--workers", type=click.IntRange(1), help="Threads that decode images ahead of the model.")
@click.option(
    "--overlay",
    is_flag=True,
    help="Also write each image with its classes blended over it, "
    "with a legend below: id, name and share of the pixels.",
)
@click.option("--color", is_flag=True, help="Also write each label map as an RGB picture in the classes' colours.")
@click.option(
    "--contours",
    is_flag=True,
    help="Also write the regions of the classes as polygons, GeoJSON in pixel edges; filled they are the label map.",
)
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
@click.option(
    "--resume",
    is_flag=True,
    help="Go on after a stop or a kill: what an earlier run into the same folder did, with the same model and options, "
    "is left as it is, the rest is done.",
)
@click.option(
    "--watch",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="In place of IMAGES: segment the images in DIR, and those that arrive, until Ctrl-C or SIGTERM.",
)
@click.option(
    "--watch-idle",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help="With --watch: end when nothing has arrived for so long.",
)
@engine_options
@overwrite_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, *, images: tuple[str, ...], model: Path | None, as_json: bool, **options: Any
) -> None:
    """Segment IMAGES and write a label map PNG for each.

    IMAGES are files, folders (searched below), patterns, .npy files of uint8 images (N, H, W) or (N, H, W, C), or - for
    a list of paths on stdin, one a line or with NULs between them. In folders, and with --watch, files are taken that
    have a suffix of a format that is read (PNG, JPEG, TIFF, WebP, AVIF, BMP, GIF, PNM, JPEG 2000, TGA, ICO, PSD, ...);
    .npy files there, and names that begin with a dot, are not.

    A label map is a palette PNG: the value of a pixel is its class id, and viewers show it in colour. manifest.json
    says for each input what became of it. An input that cannot be read does not stop the others (exit code 3). Ctrl-C
    and SIGTERM finish the images in work (exit code 3), a second one ends at once; --resume does the rest.

    \b
    Examples:
      segtool predict images/*.png
      segtool predict photos/ --model model.int8.onnx --overlay --out masks/
      find photos -name "*.jpg" -print0 | segtool predict - --resume
      segtool predict --watch incoming/ --out masks/
      segtool predict s3://bucket/photos --engine ray --ray-address auto --out s3://bucket/masks
    """
    manifest, is_watch = _run(ctx, images, model, options, as_json=as_json)
    _report(manifest, as_json=as_json)
    ctx.exit(_exit_code(manifest, is_watch=is_watch))


def _run(
    ctx: click.Context, images: Sequence[str], model: Path | None, options: dict[str, Any], *, as_json: bool
) -> tuple[Manifest, bool]:
    """Do what was asked; return the manifest, and whether a folder was watched."""
    with gc_paused():
        segmenter, inputs, watch = _start(ctx, images, model, options, as_json=as_json)
    return _predict(segmenter, inputs, watch, options), watch is not None


def _start(
    ctx: click.Context, images: Sequence[str], model: Path | None, options: dict[str, Any], *, as_json: bool
) -> tuple[Segmenter, list[str], Path | None]:
    """Open the model and import what is needed; return the segmenter, the inputs and the folder to watch."""
    from segtool.models.resolve import find_model
    from segtool.models.shipped import default_model
    from segtool.runtime.opening import open_model

    engine, address = options.pop("engine"), options.pop("ray_address")
    if engine == "ray":
        refuse_for_ray(options)
    watch = _watched(images, options.pop("watch"), options["watch_idle"])
    inputs = _with_stdin(images)
    if engine == "local":
        refuse_for_local(inputs, options["out"], address)
    path = default_model() if model is None else find_model(model, kind="onnx").path
    if engine == "ray":
        predict_with_ray(ctx, path, inputs, {**options, "address": address}, as_json=as_json)
    options["out"] = Path(options["out"])
    settings = {name: options.pop(name) for name in ("provider", "provider_options")}
    threads = _threads(options.pop("threads"), inputs, settings["provider_options"])
    if not _is_one(inputs):
        from segtool.machine.allocator import share_memory

        share_memory()
    with ThreadPoolExecutor(1) as opener:  # onnxruntime lets Python go on while it opens a model
        opening = opener.submit(open_model, path, threads=threads, **settings)
        _import_the_rest()
        from segtool.runtime.segmenter import Segmenter

        segmenter = Segmenter(opening.result())
    say(f"{path}: {segmenter.provider}, {segmenter.threads} threads. {segmenter.provider_reason}")
    return segmenter, inputs, watch


def _import_the_rest() -> None:
    """Import what is needed once the model is open."""
    import rich.table  # noqa: F401
    from PIL import Image

    import segtool.cli.progress
    import segtool.predict.predict  # noqa: F401

    error_console()
    # The limit is --max-pixels; Pillow would also warn, from half of its default on.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _watched(images: Sequence[str], watch: Path | None, idle: float | None) -> Path | None:
    """Return the folder to watch, None for none; refuse options that do not go together."""
    if watch is None and not images:
        raise click.UsageError("Missing argument 'IMAGES...'; name images, or a folder with --watch.")
    if watch is not None and images:
        raise click.UsageError("IMAGES and --watch exclude each other.")
    if watch is None and idle is not None:
        raise click.UsageError("--watch-idle needs --watch.")
    return watch


def _with_stdin(images: Sequence[str]) -> list[str]:
    """Return the arguments, with the list on stdin in the place of a dash."""
    if images.count("-") > 1:
        raise click.UsageError("- can be given once: there is one stdin.")
    if "-" not in images:
        return list(images)
    from segtool.predict.naming import parse_path_list

    listed = parse_path_list(sys.stdin.buffer.read())
    if not listed:
        raise DataError("There was no path on stdin; write one a line, or leave out the dash.")
    place = images.index("-")
    return [*images[:place], *listed, *images[place + 1 :]]


def _predict(segmenter: Segmenter, inputs: Sequence[str], watch: Path | None, options: dict[str, Any]) -> Manifest:
    from segtool.cli.progress import progress_bar
    from segtool.predict.predict import PredictOptions, predict_paths

    idle = options.pop("watch_idle")
    given = PredictOptions(**{key: value for key, value in options.items() if value is not None})
    with finish_work() as stop, progress_bar("images") as progress:
        if watch is None:
            return predict_paths(segmenter, inputs, options=given, progress=progress, stop=stop)
        from segtool.predict.watch import WatchOptions, watch_folder

        say(f"Watching {watch}; Ctrl-C ends it.")
        return watch_folder(
            segmenter, watch, options=given, watch=WatchOptions(idle=idle), progress=progress, stop=stop
        )


def _threads(asked: int | None, images: Sequence[str], provider_options: Mapping[str, str]) -> int | None:
    """Return the threads that --threads, the provider's own option or OMP_NUM_THREADS asks for, in this order.

    Else one thread for several images, which then run side by side; None (all) for the least time of one.

    On two cores, fcn8 in INT8 ran 1,674 images a second with one-thread runs side by side and 1,101 with two threads
    (benchmarks/results/export_engines.json).
    """
    from segtool.machine.processors import environment_threads
    from segtool.runtime.providers import sets_threads

    if asked is not None or sets_threads(provider_options):
        return asked
    return environment_threads() or (None if _is_one(images) else 1)


def _is_one(images: Sequence[str]) -> bool:
    return len(images) == 1 and Path(images[0]).is_file() and Path(images[0]).suffix.lower() != ".npy"


def _exit_code(manifest: Manifest, *, is_watch: bool) -> int:
    if manifest.interrupted:
        return EXIT_PARTLY
    if manifest.failed:
        return EXIT_PARTLY if manifest.done or manifest.skipped or is_watch else 1
    return 0


def _report(manifest: Manifest, *, as_json: bool) -> None:
    end()  # all is written: a stop that comes only now has nothing to stop
    if as_json:
        emit_json("predict", manifest.to_dict())
    else:
        emit_table(
            ["written to", "images", "skipped", "failed", "manifest"],
            [[manifest.path.parent, manifest.done, manifest.skipped, manifest.failed, manifest.path]],
        )
    if manifest.interrupted:
        logger.error(
            "Stopped: %d images were not run, %s says which; --resume does them.", manifest.not_run, manifest.path
        )
