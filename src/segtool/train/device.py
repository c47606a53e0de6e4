"""The device to train on, for each Keras backend, and the machines that train together, from TF_CONFIG."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras

from segtool.errors import ProviderError
from segtool.train.precision import DEVICES, Processor

VARIABLE = "TF_CONFIG"
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_KINDS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The number of processes that train together, and the rank of this one; rank 0, the chief, writes the run."""

    workers: int = 1
    rank: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0


ALONE = Cluster()


@dataclass(frozen=True)
class Device:
    """The device of a training: processor, description, count, CUDA compute capability of a GPU, and the machines."""

    processor: Processor
    description: str
    count: int = 1
    capability: tuple[int, int] | None = None
    cluster: Cluster = ALONE


def choose_device(requested: str) -> Device:
    """Return the device to train on, and configure the backend for it.

    GPU memory grows as needed. Call it before the backend places any tensor.

    Parameters
    ----------
    requested
        "auto" (a GPU if there is one, else the CPU), "cpu" or "gpu".

    Raises
    ------
    ProviderError
        "gpu" is requested and the backend finds none, or TF_CONFIG cannot be used.
    """
    if requested not in DEVICES:
        raise ProviderError(f"There is no device {requested!r}; choose one of {', '.join(DEVICES)}.")
    backend = keras.backend.backend()
    if backend not in _PROBES:
        raise ProviderError(
            f"Keras uses the backend {backend}, which cannot train; set KERAS_BACKEND to one of {', '.join(_PROBES)}."
        )
    gpu = _PROBES[backend](requested != "cpu")
    if gpu is None and requested == "gpu":
        raise ProviderError(
            f"A GPU was requested and the {backend} backend finds none; install a {backend} build for your GPU and its "
            "driver, or train with --device cpu."
        )
    return replace(gpu or Device("cpu", f"CPU ({backend})"), cluster=_cluster(backend))


def _cluster(backend: str) -> Cluster:
    cluster = read_cluster()
    if cluster.workers > 1 and backend != "tensorflow":
        raise ProviderError(
            f"TF_CONFIG names {cluster.workers} workers, which only the TensorFlow backend supports, and the backend "
            f"is {backend}; unset TF_CONFIG or KERAS_BACKEND."
        )
    return cluster


def _tensorflow_gpu(wanted: bool) -> Device | None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    if not wanted:
        tf.config.set_visible_devices([], "GPU")
        return None
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details: dict[str, Any] = tf.config.experimental.get_device_details(gpus[0])
    return Device("gpu", details.get("device_name", "GPU"), len(gpus), details.get("compute_capability"))


def _jax_gpu(wanted: bool) -> Device | None:
    import jax

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if not gpus:
        return None
    if not wanted:
        jax.config.update("jax_default_device", jax.devices("cpu")[0])
        return None
    capability = tuple(int(part) for part in str(getattr(gpus[0], "compute_capability", "0.0")).split("."))
    return Device("gpu", gpus[0].device_kind, 1, (capability[0], capability[1]))


def _torch_gpu(wanted: bool) -> Device | None:
    import torch

    if not torch.cuda.is_available():
        return None
    if not wanted:
        torch.set_default_device("cpu")
        return None
    return Device("gpu", torch.cuda.get_device_name(0), 1, torch.cuda.get_device_capability(0))


_PROBES = {"tensorflow": _tensorflow_gpu, "jax": _jax_gpu, "torch": _torch_gpu}


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Return the cluster that TF_CONFIG describes; this process alone if it is not set.

    Raises
    ------
    ProviderError
        TF_CONFIG is not valid for TensorFlow's multi-worker training.
    """
    text = environment.get(VARIABLE)
    if not text:
        return ALONE
    addresses, task = _parse(text)
    kind, index = task.get("type"), task.get("index")
    members = [(name, number) for name in _KINDS for number in range(len(addresses.get(name, [])))]
    # bool is a subclass of int, but not a valid index.
    if not isinstance(index, int) or isinstance(index, bool) or (kind, index) not in members:
        raise _refused(
            f"its task is {kind!r} {index!r}", "one of " + ", ".join(f"{name} {number}" for name, number in members)
        )
    return Cluster(len(members), members.index((str(kind), index)))


def _parse(text: str) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the addresses by task type, and the task of this process."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _refused(f"it is not valid JSON ({error})", _EXAMPLE) from error
    if not isinstance(value, dict) or not all(isinstance(value.get(key), dict) for key in ("cluster", "task")):
        raise _refused("it has no objects cluster and task", _EXAMPLE)
    cluster: dict[str, list[str]] = value["cluster"]
    if odd := sorted(cluster.keys() - set(_KINDS)):
        raise _refused(f"its cluster has {odd[0]} tasks", "only workers, or a chief and workers")
    every = [cluster[kind] for kind in cluster]
    if not every or not all(isinstance(part, list) and part and all(map(_is_address, part)) for part in every):
        raise _refused("its cluster has no list of addresses host:port", _EXAMPLE)
    addresses = [address for part in every for address in part]
    if len(set(addresses)) != len(addresses) or len(cluster.get("chief", [])) > 1:
        raise _refused("its cluster has a duplicate address or two chiefs", "each process once and at most one chief")
    return cluster, value["task"]


def _is_address(value: Any) -> bool:
    host, colon, port = str(value).rpartition(":")
    return isinstance(value, str) and bool(host and colon) and port.isdigit()


def _refused(found: str, expected: str) -> ProviderError:
    return ProviderError(
        f"{VARIABLE} cannot be used: {found}, expected {expected}; correct it, or unset it to train on this machine "
        "only."
    )
