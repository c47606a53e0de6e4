"""What `segtool predict --engine ray` does, and what the local engine refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from segtool.cli.common import EXIT_PARTLY, emit_json, emit_table, say

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
        "(s3://, gs://, https://, ...) and folders must be shared by all nodes; needs pip install "
        '"segtool[ray]" on each.',
    )
    address = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="With --engine ray, the cluster, such as 10.0.0.5:6379 or auto.  [default: RAY_ADDRESS, or else the "
        "processors of this machine]",
    )
    return engine(address(command))


def refuse_for_local(images: Sequence[str], out: str, address: str | None) -> None:
    """Refuse what the local engine cannot do.

    Raises
    ------
    click.UsageError
        URLs or an address were given.
    """
    from segtool.distributed.storage import is_url

    if address is not None:
        raise click.UsageError("--ray-address needs --engine ray.")
    for text in (*images, out):
        if is_url(text):
            raise click.UsageError(f"{text} is a URL, which needs --engine ray.")


def predict_with_ray(
    ctx: click.Context, model: Path, images: Sequence[str], options: dict[str, Any], *, as_json: bool
) -> None:
    """Run the prediction, report it and end with its exit code."""
    from segtool.cli.live import progress_bar
    from segtool.distributed.cluster import ClusterOptions
    from segtool.distributed.predict import predict_on_cluster
    from segtool.runtime.predict import PredictOptions

    given = {key: value for key, value in options.items() if value is not None}
    out = given.pop("out")
    names = {"address": "ray_address", "workers": "workers", "provider": "provider", "threads": "threads"}
    cluster = ClusterOptions(**{name: given.pop(key) for name, key in names.items() if key in given})
    say(f"{model}: on Ray, one segmenter of {cluster.threads} threads in each worker.")
    try:
        with progress_bar("images") as progress:
            asked = PredictOptions(out=Path(), **given)
            manifest = predict_on_cluster(model, images, out=out, options=asked, cluster=cluster, progress=progress)
    except KeyboardInterrupt:
        logger.error("Stopped: if anything was written, %s/manifest.json says what.", out)  # noqa: TRY400
        ctx.exit(EXIT_PARTLY)
    _report(manifest, out, as_json=as_json)
    counts = manifest["counts"]
    if counts["failed"] or counts["not_run"]:
        ctx.exit(EXIT_PARTLY if counts["done"] else 1)


def _report(manifest: Mapping[str, Any], out: str, *, as_json: bool) -> None:
    for entry in manifest["entries"]:
        if "error" in entry:
            logger.error("%s", entry["error"])
    counts = manifest["counts"]
    if counts["not_run"]:
        logger.error("%d images were not run; %s/manifest.json says which.", counts["not_run"], out)
    if as_json:
        emit_json("predict", manifest)
        return
    emit_table(
        ["written to", "images", "failed", "nodes", "manifest"],
        [[out, counts["done"], counts["failed"], len(manifest["nodes"]), f"{out.rstrip('/')}/manifest.json"]],
    )
