"""What `segtool predict --engine ray` does, and what each engine refuses."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from segtool.cli.common import EXIT_PARTLY, emit_json, say
from segtool.cli.tables import emit_table
from segtool.stopping import end

if TYPE_CHECKING:
    from segtool.cli.predict import Request

Command = TypeVar("Command", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


def engine_options(command: Command) -> Command:
    """Add --engine and --ray-address."""
    engine = click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="local runs in this process; ray runs the same on a Ray cluster, where IMAGES and --out may be URLs "
        "(s3://, gs://, https://, ...), folders must be shared by all nodes, and --workers are actors with a segmenter "
        'each; needs pip install "segtool[ray]" on each node.',
    )
    address = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="With --engine ray, the cluster, such as 10.0.0.5:6379 or auto.  [default: RAY_ADDRESS, or else the "
        "processors of this machine]",
    )
    return engine(address(command))


def refuse_for_local(inputs: Sequence[str], request: Request) -> None:
    """Refuse what the local engine cannot do.

    Raises
    ------
    click.UsageError
        URLs or an address were given.
    """
    if request.ray_address is not None:
        raise click.UsageError("--ray-address needs --engine ray.")
    for text in (*inputs, request.out):
        if "://" in text and _is_url(text):
            raise click.UsageError(f"{text} is a URL, which needs --engine ray.")


def refuse_for_ray(request: Request) -> None:
    """Refuse options that a run on a cluster does not have.

    Raises
    ------
    click.UsageError
        One was given.
    """
    from segtool.runtime.providers import sets_threads

    if request.watch is not None or request.watch_idle is not None:
        raise click.UsageError("--watch needs --engine local; a cluster predicts what is there when it begins.")
    if request.resume:
        raise click.UsageError("--resume needs --engine local, which also completes what a cluster left in a folder.")
    if sets_threads(request.provider_options):
        raise click.UsageError("With --engine ray, threads are set with --threads: each actor gets as many processors.")


def predict_with_ray(ctx: click.Context, model: Path, inputs: Sequence[str], request: Request) -> NoReturn:
    """Run the prediction, report it and end with its exit code."""
    from segtool.cli.progress import progress_bar
    from segtool.machine.processors import environment_threads
    from segtool.predict.ray_engine.cluster import ClusterOptions
    from segtool.predict.ray_engine.predict import predict_on_cluster

    out = request.out
    cluster = ClusterOptions(
        address=request.ray_address,
        workers=request.workers,
        provider=request.provider,
        provider_options=request.provider_options,
        threads=request.threads or environment_threads() or 1,
    )
    say(f"{model}: on Ray, one segmenter of {cluster.threads} threads in each worker.")
    try:
        with progress_bar("images") as progress:
            options = replace(request.options(Path()), workers=None)
            manifest = predict_on_cluster(model, inputs, out=out, options=options, cluster=cluster, progress=progress)
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != signal.SIGTERM:  # which Ray's own handler makes of SIGTERM
            raise
        end()
        logger.error("Stopped: if anything was written, %s/manifest.json says what.", out.rstrip("/"))  # noqa: TRY400
        ctx.exit(EXIT_PARTLY)
    _report(manifest, out, as_json=request.as_json)
    counts = manifest["counts"]
    is_partly = counts["failed"] or counts["not_run"]
    ctx.exit((EXIT_PARTLY if counts["done"] else 1) if is_partly else 0)


def _is_url(text: str) -> bool:
    from segtool.predict.ray_engine.storage import is_url  # only where there may be one: a device is spared the import

    return is_url(text)


def _report(manifest: Mapping[str, Any], out: str, *, as_json: bool) -> None:
    counts = manifest["counts"]
    where = f"{out.rstrip('/')}/manifest.json"
    if counts["not_run"]:
        logger.error("%d images were not run; %s says which.", counts["not_run"], where)
    if as_json:
        emit_json("predict", manifest)
        return
    emit_table(
        ["written to", "images", "failed", "nodes", "manifest"],
        [[out, counts["done"], counts["failed"], len(manifest["nodes"]), where]],
    )
