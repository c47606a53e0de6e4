"""The connection to a Ray cluster, and the number of actors that fit on it."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from segtool.errors import MissingExtraError, ProviderError
from segtool.machine.processors import available_cpus
from segtool.runtime.providers import short_name
from segtool.text import counted

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # send nothing, whatever the settings of the user's Ray are
    # Ray's processes log to files; on stderr they would print warnings about Ray Data itself.
    "RAY_BACKEND_LOG_LEVEL": os.environ.get("RAY_BACKEND_LOG_LEVEL", "fatal"),
}
"""Set in this process, the Ray processes that it starts, and each actor, before Ray or onnxruntime is imported."""

_LOCAL = "local"
_GPU_PROVIDERS = ("cuda", "tensorrt", "rocm", "migraphx")
_CONNECT_SECONDS = 10
_OBJECT_STORE_BYTES = 256 << 20  # names and the model pass through it, no pixels


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where a prediction runs; `provider` and `provider_options` as in `segtool.load`."""

    address: str | None = None
    """As in `ray.init`; None for RAY_ADDRESS, or without it for a cluster on this machine that ends with the run."""
    workers: int | None = None
    """Number of actors, each with one segmenter; None for as many as fit on the cluster at the start."""
    provider: str = "auto"
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    """Threads of one run; each actor gets the same number of processors."""

    @property
    def gpus(self) -> int:
        """GPUs of one actor."""
        return int(short_name(self.provider) in _GPU_PROVIDERS)

    def actors_on(self, resources: Mapping[str, float]) -> int:
        """Return the number of actors that a node with these resources can run."""
        by_cpu = int(resources.get("CPU", 0) // self.threads)
        return min(by_cpu, int(resources.get("GPU", 0))) if self.gpus else by_cpu


def import_extra(name: str) -> ModuleType:
    """Import a module of the extra `ray`; raise MissingExtraError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f'{name} cannot be imported ({error}); install it with pip install "segtool[ray]".'
        ) from error


def import_ray() -> ModuleType:
    """Set `ENVIRONMENT`, and import Ray with Ray Data; errors as in `import_extra`."""
    os.environ.update(ENVIRONMENT)
    import_extra("ray.data")
    return import_extra("ray")


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Connect to the cluster and yield the module `ray`.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    ProviderError
        There is no cluster at the address, or it fails within the block.
    """
    ray = import_ray()
    try:
        _connect(ray, options)
        yield ray
    except ray.exceptions.RayError as error:
        raise ProviderError(
            f"The Ray cluster failed ({_last_line(error)}); see `ray status` and the logs on its head node."
        ) from error
    finally:
        ray.shutdown()


def count_workers(ray: Any, options: ClusterOptions) -> int:
    """Return the number of actors of the run; raise ProviderError if no node has the resources of one actor."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(map(options.actors_on, nodes))
    if room == 0 and (options.workers is None or options.gpus):  # with --workers, nodes may start on demand
        needed = counted(options.threads, "processor") + (" and a GPU" if options.gpus else "")
        raise ProviderError(
            f"No node of the Ray cluster has {needed} for an actor; use fewer --threads, --provider cpu, or add a node."
        )
    if options.workers is not None and options.workers > room:
        logger.warning("The Ray cluster can start only %d of %d workers now.", room, options.workers)
    if options.provider == "auto" and any(node.get("GPU") for node in nodes):
        logger.warning("The Ray cluster has unused GPUs; --provider cuda uses them.")
    return options.workers or room


def _connect(ray: Any, options: ClusterOptions) -> None:
    address = options.address or os.environ.get("RAY_ADDRESS") or _LOCAL
    own = {
        "num_cpus": max(available_cpus(), options.threads),
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    settings = own if address == _LOCAL else {}
    try:
        _require_listener(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise ProviderError(
            f"There is no Ray cluster at {address} ({_last_line(error)}); start one with `ray start --head`, or "
            "remove --ray-address to run on this machine."
        ) from error


def _require_listener(address: str) -> None:
    """Refuse an address without a listener (OSError, OverflowError), and one for Ray Client (ProviderError).

    Without a listener, Ray would wait for minutes and then end the process.
    """
    if address.startswith("ray://"):
        raise ProviderError(
            f"{address} is an address for Ray Client, which Ray Data does not support; run this command on a node "
            "of the cluster with --ray-address auto, or as a job."
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():  # else "auto", or a name that Ray resolves
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")
