"""The execution providers of onnxruntime: their names, packages and options."""

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
"""A provider that only calls a cloud service and never runs a model; ignored in checks."""

AUTO_ORDER = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    DIRECTML,
    "CoreMLExecutionProvider",
    OPENVINO,
)
"""The providers that auto tries, best first.

These providers are only used by name: TensorRT, which compiles the model for minutes at the first start; QNN, whose
NPU computes with its own arithmetic; XNNPACK, which was not measured against onnxruntime's own kernels.
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
# Providers that are plugin libraries for any onnxruntime, and the module that locates each library.
_PLUGINS = {QNN: "onnxruntime_qnn"}
# The option for the number of threads, for providers with their own thread pool.
_THREAD_OPTIONS = {XNNPACK: "intra_op_num_threads", OPENVINO: "num_of_threads"}
# These providers silently ignore unknown options; the others refuse them.
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
    """Return the available providers: those in this onnxruntime, and those of installed plugins."""
    names = list(ort.get_available_providers())
    plugins = [name for name, module in _PLUGINS.items() if importlib.util.find_spec(module) is not None]
    return [*names, *(name for name in plugins if name not in names)]


def provider_name(provider: str, available: Sequence[str]) -> str:
    """Return onnxruntime's name for "cuda", "CUDA" or "CUDAExecutionProvider".

    Raises
    ------
    ProviderError
        It is not in `available`.
    """
    wanted = short_name(provider)
    for name in available:
        if short_name(name) == wanted:
            return name
    offered = [short_name(name) for name in available if name != REMOTE]
    source = _SOURCES.get(wanted, "the onnxruntime package that contains it")
    choose = "choose one of them" if len(offered) > 1 else f"use --provider {offered[0]}" if offered else "use auto"
    raise ProviderError(
        f"This onnxruntime does not have the provider {provider!r}; it has {', '.join(offered) or 'none'}: "
        f"{choose}, or replace this onnxruntime by {source}."
    )


def short_name(provider: str) -> str:
    """Return "cuda" for "CUDAExecutionProvider"."""
    short = provider.lower().removesuffix("executionprovider")
    return _ALIASES.get(short, short)


def provider_settings(
    provider: str, options: Mapping[str, Any] | None, *, threads: int | None
) -> tuple[dict[str, str], int]:
    """Return the options for a provider, and the threads of one run.

    A provider with its own thread pool also gets the number of threads, so that both pools use it.

    Parameters
    ----------
    provider
        onnxruntime's name.
    options
        The user's options, with the provider's own keys.
    threads
        The user's number; None for the provider's thread option, or without it `default_threads`.

    Raises
    ------
    ProviderError
        The provider would silently ignore an option, or an option contradicts `threads`.
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
    """Return whether a provider's options set the number of threads."""
    return any(key in options for key in _THREAD_OPTIONS.values())


def _refuse_unknown(provider: str, options: Mapping[str, str]) -> None:
    known = _KNOWN_OPTIONS.get(provider)
    unknown = [key for key in options if known is not None and key not in known]
    if unknown:
        takes = f"accepts {', '.join(known)}" if known else "accepts none (set its threads with --threads)"
        raise ProviderError(
            f"{provider} would silently ignore the option {unknown[0]!r}; it {takes}. Correct or remove the option."
        )


def _uses_processor(provider: str, options: Mapping[str, str]) -> bool:
    """Return whether a provider computes on the CPU; OpenVINO does unless its device option differs."""
    return provider != OPENVINO or "CPU" in options.get("device_type", "CPU").upper()


def _agreed_threads(key: str, value: str, threads: int | None) -> int:
    """Return the number in a provider's thread option, which must not contradict the requested one."""
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ProviderError(f"The provider option {key} is {value!r}; expected a positive integer.")
    if threads is not None and int(value) != threads:
        raise ProviderError(f"threads is {threads}, but the provider option {key} is {value}; remove one of the two.")
    return int(value)


def plugin_devices(provider: str) -> list[Any]:
    """Return the devices of a plugin provider, NPU first; none for a provider that is built into onnxruntime.

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
        if provider not in ort.get_available_providers():  # and was not registered before
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
