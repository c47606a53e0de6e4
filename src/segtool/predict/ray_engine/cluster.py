"""Connecting to a Ray cluster, and how many actors it has room for."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from segtool.errors import ProviderError
from segtool.machine.processors import available_cpus
from segtool.predict.ray_engine.extra import import_ray

logger = logging.getLogger(__name__)

_LOCAL = "local"
_GPU_PROVIDERS = ("cuda", "tensorrt", "rocm", "migraphx")
_CONNECT_SECONDS = 10
_OBJECT_STORE_BYTES = 256 << 20  # names and the model go through it, no pixels


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where a prediction runs.

    Attributes
    ----------
    address
        Of the cluster, as in `ray.init`; None for what RAY_ADDRESS says, or else a cluster of this machine alone that
        ends with the run.
    workers
        Actors, each with one segmenter; None for as many as the cluster has room for when it begins.
    provider
        As in `segtool.load`; with a GPU's provider each actor gets a GPU.
    provider_options
        As in `segtool.load`.
    threads
        Threads of one run; each actor gets as many processors.
    """

    address: str | None = None
    workers: int | None = None
    provider: str = "auto"
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one actor."""
        return int(self.provider.lower().removesuffix("executionprovider") in _GPU_PROVIDERS)


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Connect to the cluster and give the module `ray`; a connection that was there already is used and left open.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    ProviderError
        There is no cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or _LOCAL
    _require_listener(address)
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == _LOCAL:
        settings |= {
            "num_cpus": max(available_cpus(), options.threads),
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        ray.init(address, **settings)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def count_workers(ray: Any, options: ClusterOptions) -> int:
    """Return how many actors the run has.

    Raises
    ------
    ProviderError
        No node has what one actor needs, and without a number of workers nothing says that one will come.
    """
    room = sum(_room(node["Resources"], options) for node in ray.nodes() if node["Alive"])
    if room == 0 and (options.workers is None or options.gpus):
        needed = f"{options.threads} processors" + (" and a GPU" if options.gpus else "")
        raise ProviderError(
            f"No node of the Ray cluster has {needed} for an actor; use fewer --threads, --provider cpu, or add a node."
        )
    if options.workers is not None and options.workers > room:
        logger.warning("The Ray cluster has room for %d of %d workers now.", room, options.workers)
    if not options.gpus and ray.cluster_resources().get("GPU") and options.provider == "auto":
        logger.warning("The Ray cluster has GPUs that are not used; --provider cuda uses them.")
    return options.workers or room


@contextmanager
def sentences(ray: Any) -> Iterator[None]:
    """Turn what Ray raises into one sentence.

    Raises
    ------
    ProviderError
        The cluster failed.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ProviderError(
            f"The Ray cluster failed ({_last_line(error)}); see `ray status` and the logs on its head node."
        ) from error


def _room(resources: dict[str, float], options: ClusterOptions) -> int:
    by_cpu = int(resources.get("CPU", 0) // options.threads)
    return min(by_cpu, int(resources.get("GPU", 0) // options.gpus)) if options.gpus else by_cpu


def _require_listener(address: str) -> None:
    """Refuse an address where nobody listens; Ray would wait for minutes and then end the process.

    Raises
    ------
    ProviderError
        It is one, or one of Ray Client, through which Ray Data does not run.
    """
    if address.startswith("ray://"):
        raise ProviderError(
            f"{address} is an address for Ray Client, which Ray Data does not support; run this on a node of the "
            "cluster with --ray-address auto, or as a job."
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return  # "auto" and names that Ray resolves
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: BaseException) -> ProviderError:
    return ProviderError(
        f"There is no Ray cluster at {address} ({_last_line(error)}); start one with `ray start --head`, or leave out "
        "--ray-address to run on this machine."
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")
