"""The command `segtool predict --engine ray`."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segtool.cli.common import EXIT_PARTLY, say
from segtool.stopping import end
from segtool.text import counted

if TYPE_CHECKING:
    from segtool.cli.predict_request import Request
    from segtool.predict.manifest import Manifest

Command = TypeVar("Command", bound=Callable[..., Any])

logger = logging.getLogger(__name__)


def engine_options(command: Command) -> Command:
    """Add --engine and --ray-address."""
    engine = click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="local runs in this process. ray runs on a Ray cluster: IMAGES and --out may be URLs (s3://, gs://, "
        "https://, ...), all nodes must share the folders, and --workers is the number of actors, each with its own "
        'model. ray needs pip install "segtool[ray]" on each node.',
    )
    address = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="With --engine ray: the address of the cluster, such as 10.0.0.5:6379 or auto.  [default: RAY_ADDRESS; "
        "without it, the processors of this machine]",
    )
    return engine(address(command))


def predict_with_ray(ctx: click.Context, model: Path, inputs: Sequence[str], request: Request) -> Manifest:
    """Run the prediction; if it is stopped, exit with the exit code for that."""
    from segtool.cli.progress import progress_bar
    from segtool.machine.processors import environment_threads
    from segtool.predict.ray_engine.cluster import ClusterOptions
    from segtool.predict.ray_engine.predict import predict_on_cluster

    out = request.out
    cluster = ClusterOptions(
        address=request.ray_address,
        workers=request.outputs.workers,
        provider=request.provider,
        provider_options=request.provider_options,
        threads=request.threads or environment_threads() or 1,
    )
    say(f"{model}: on Ray, with {counted(cluster.threads, 'thread')} for the model of each worker.")
    try:
        with progress_bar("images") as progress:
            return predict_on_cluster(
                model, inputs, out=out, options=request.outputs, cluster=cluster, progress=progress
            )
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != signal.SIGTERM:  # Ray's own handler turns SIGTERM into this
            raise
        end()
        logger.error("Stopped: %s lists the outputs, if any were written.", request.manifest)  # noqa: TRY400
        ctx.exit(EXIT_PARTLY)
