"""What a measurement was made on: a number without its machine says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segtool.runtime.processors import available_cpus, cgroup_quota

# What decides how fast INT8 and float kernels run, by the names of Linux's /proc/cpuinfo.
_INSTRUCTION_SETS = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
_PACKAGES = (
    "segtool", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml",
    "onnxruntime-qnn", "pillow",
)  # fmt: skip


def machine_info(*, proc: Path = Path("/proc")) -> dict[str, Any]:
    """Describe this machine and this process's share of it, ready for JSON.

    Returns
    -------
    dict
        `cpu` (model name), `cores` (logical, of the machine), `available_cpus` and `cgroup_quota` (of this
        process; null without a limit), `instruction_sets`, `load_average` (1, 5 and 15 minutes; null where there
        is none), `os`, `architecture`, `python`, `packages`.
    """
    cpu = _cpuinfo(proc)
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "available_cpus": available_cpus(proc=proc),
        "cgroup_quota": cgroup_quota(proc=proc),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
        "load_average": _load_average(),
        "os": platform.platform(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": package_versions(_PACKAGES),
    }


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these packages that is installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpuinfo(proc: Path) -> dict[str, str]:
    """Return the fields of the first processor; empty where the system has no such file."""
    try:
        first = (proc / "cpuinfo").read_text(errors="replace").split("\n\n", maxsplit=1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _load_average() -> list[float] | None:
    try:
        return list(os.getloadavg())
    except (OSError, AttributeError):
        return None
