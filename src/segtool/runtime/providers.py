"""The execution providers of onnxruntime: their names, the package that brings each, the options each takes."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from segtool.errors import ProviderError
from segtool.machine.processors import default_threads
from segtool.runtime.engine import ORT_ERRORS, ort
from segtool.runtime.native_log import plain_message

CPU = "CPUExecutionProvider"
DIRECTML = "DmlExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
QNN = "QNNExecutionProvider"
XNNPACK = "XnnpackExecutionProvider"
REMOTE = "AzureExecutionProvider"
"""Runs calls to a cloud service, never a model: that it does not start says nothing."""

AUTO_ORDER = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    DIRECTML,
    "CoreMLExecutionProvider",
    OPENVINO,
)
"""What auto tries, best first.

Left to those who ask for them by name: TensorRT, which compiles the model for minutes at its first start; QNN, whose
NPU computes in an arithmetic of its own; XNNPACK, which was not measured against
onnxruntime's own kernels.
"""

_ALIASES = {"directml": "dml"}
_SOURCES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "dml": "onnxruntime-directml",
    "qnn": "onnxruntime-qnn",
    "coreml": "onnxruntime on macOS",
    "xnnpack": "an onnxruntime built with --use_xnnpack",
}
# Providers that come as a library for any onnxruntime, and the module that says where it is.
_PLUGINS = {QNN: "onnxruntime_qnn"}
# The option with the number of threads, of providers that have a pool of their own.
_THREAD_OPTIONS = {XNNPACK: "intra_op_num_threads", OPENVINO: "num_of_threads"}
# These take what they know and are silent about the rest; the others refuse an option that they do not know.
_KNOWN_OPTIONS: Mapping[str, tuple[str, ...]] = {
    CPU: (),
    XNNPACK: ("intra_op_num_threads",),
    DIRECTML: (
        *("device_id", "device_filter", "performance_preference", "disable_metacommands"),
        *("enable_dynamic_graph_fusion", "enable_graph_capture", "enable_graph_serialization"),
    ),
    QNN: (
        *("backend_type", "backend_path", "device_id", "soc_model", "htp_arch", "vtcm_mb", "op_packages"),
        *("htp_performance_mode", "htp_graph_finalization_optimization_mode", "enable_htp_fp16_precision"),
        *("enable_htp_spill_fill_buffer", "enable_htp_shared_memory_allocator", "rpc_control_latency"),
        *("offload_graph_io_quantization", "qnn_context_priority", "qnn_saver_path", "skip_qnn_version_check"),
        *("profiling_level", "profiling_file_path", "dump_json_qnn_graph", "json_qnn_graph_dir"),
    ),
}


def available_providers() -> list[str]:
    """Return the providers that can be asked for: those in this onnxruntime, and those of installed plugins."""
    names = list(ort.get_available_providers())
    plugins = [name for name, module in _PLUGINS.items() if importlib.util.find_spec(module) is not None]
    return [*names, *(name for name in plugins if name not in names)]


def provider_name(provider: str, available: Sequence[str]) -> str:
    """Return onnxruntime's name for "cuda", "CUDA" or "CUDAExecutionProvider".

    Raises
    ------
    ProviderError
        It is not among those `available`.
    """
    wanted = short_name(provider)
    for name in available:
        if short_name(name) == wanted:
            return name
    offered = [short_name(name) for name in available if name != REMOTE]
    source = _SOURCES.get(wanted, "the onnxruntime package that brings it")
    choose = "choose one of them" if len(offered) > 1 else f"use --provider {offered[0]}" if offered else "use auto"
    raise ProviderError(
        f"The provider {provider!r} is not in this onnxruntime, which has {', '.join(offered) or 'none'}; "
        f"{choose}, or replace it by {source}."
    )


def short_name(provider: str) -> str:
    """Return "cuda" for "CUDAExecutionProvider"."""
    short = provider.lower().removesuffix("executionprovider")
    return _ALIASES.get(short, short)


def provider_settings(
    provider: str, options: Mapping[str, Any] | None, *, threads: int | None
) -> tuple[dict[str, str], int]:
    """Return the options that a provider is started with, and the threads of one run.

    A provider with a thread pool of its own is told the number, so that it is never onnxruntime's pool alone that
    keeps to it.

    Parameters
    ----------
    provider
        onnxruntime's name.
    options
        What the user asks for, by the provider's own keys.
    threads
        What the user asks for; None for the provider's thread option, or else `default_threads`.

    Raises
    ------
    ProviderError
        An option is not known to a provider that would ignore it, or contradicts `threads`.
    """
    texts = {str(key): str(value) for key, value in (options or {}).items()}
    _refuse_unknown(provider, texts)
    key = _THREAD_OPTIONS.get(provider)
    if key is None or not _uses_processor(provider, texts):
        return texts, default_threads() if threads is None else threads
    if key in texts:
        return texts, _agreed_threads(key, texts[key], threads)
    count = default_threads() if threads is None else threads
    return {**texts, key: str(count)}, count


def sets_threads(options: Mapping[str, Any]) -> bool:
    """Tell whether a provider's options say themselves how many threads there are to be."""
    return any(key in options for key in _THREAD_OPTIONS.values())


def _refuse_unknown(provider: str, options: Mapping[str, str]) -> None:
    known = _KNOWN_OPTIONS.get(provider)
    unknown = [key for key in options if known is not None and key not in known]
    if unknown:
        takes = f"takes {', '.join(known)}" if known else "takes none (its threads are set by --threads)"
        raise ProviderError(
            f"{provider} would silently ignore the option {unknown[0]!r}; it {takes}: correct it or leave it out."
        )


def _uses_processor(provider: str, options: Mapping[str, str]) -> bool:
    """Tell whether a provider computes on the CPU; OpenVINO does where its device says nothing else."""
    return provider != OPENVINO or "CPU" in options.get("device_type", "CPU").upper()


def _agreed_threads(key: str, value: str, threads: int | None) -> int:
    """Return the number in a provider's thread option, which may not contradict the one that was asked for."""
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ProviderError(f"The provider option {key} is {value!r}; expected a positive whole number of threads.")
    if threads is not None and int(value) != threads:
        raise ProviderError(
            f"{threads} threads were asked for and the provider option {key} says {value}; leave one of the two out."
        )
    return int(value)


def plugin_devices(provider: str) -> list[Any]:
    """Return the devices of a provider that comes as a plugin, NPU first; none for one built into onnxruntime.

    Raises
    ------
    ProviderError
        The plugin does not load.
    """
    module = _PLUGINS.get(provider)
    if module is None or not hasattr(ort, "get_ep_devices"):
        return []
    failures: tuple[type[Exception], ...] = (*ORT_ERRORS, ImportError, AttributeError)
    try:
        if provider not in ort.get_available_providers():  # nor registered before
            ort.register_execution_provider_library(provider, importlib.import_module(module).get_library_path())
    except failures as error:
        raise ProviderError(
            f"{provider} does not start ({plain_message(str(error))}); reinstall {_SOURCES[short_name(provider)]} "
            "or use --provider cpu."
        ) from error
    return _registered_devices(provider)


def _registered_devices(provider: str) -> list[Any]:
    preference = ("NPU", "GPU", "CPU")
    devices = [device for device in ort.get_ep_devices() if device.ep_name == provider]
    return sorted(devices, key=lambda device: preference.index(device.device.type.name))
