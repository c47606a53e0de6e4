"""The device to train on, for each Keras backend; a requested GPU that is absent is an error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras

from segtool.errors import ProviderError
from segtool.train.precision import Processor
from segtool.train.tf_config import ALONE, Cluster, read_cluster

DEVICES = ("auto", "cpu", "gpu")


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
