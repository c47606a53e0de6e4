"""Describe the machine of a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segtool.machine.cgroups import PROC, read_text
from segtool.machine.memory import meminfo
from segtool.machine.processors import available_cpus, cgroup_quota

# Instruction sets that determine the speed of INT8 and float kernels, by their names in Linux's /proc/cpuinfo.
_INSTRUCTION_SETS = (
    "sse4_1", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Those of x86 that add products of uint8 and int8 in 32 bits; without one of them, 8-bit weights overflow."""

_PACKAGES = (
    "segtool", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml",
    "onnxruntime-qnn", "pillow",
)  # fmt: skip
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def machine_info(*, proc: Path = PROC) -> dict[str, Any]:
    """Describe this machine and the resources of this process, ready for JSON.

    Returns
    -------
    dict
        `cpu` (model name; on Arm, the board and the part number of its first core), `cores` (logical cores of the
        machine), `available_cpus` and `cgroup_quota` (of this process; null without a limit), `instruction_sets`,
        `virtual` (whether it is a virtual machine; null if unknown), `governor` (of frequency scaling; null if
        unknown), `memory_bytes` (null if unknown), `load_average` (over 1, 5 and 15 minutes; null if unknown), `os`,
        `architecture`, `python`, `packages`.
    """
    cpu = _cpuinfo(proc)
    return {
        "cpu": cpu.get("model name")
        or _board(cpu, proc)
        or os.environ.get("PROCESSOR_IDENTIFIER")
        or platform.machine(),
        "cores": os.cpu_count(),
        "available_cpus": available_cpus(proc=proc),
        "cgroup_quota": cgroup_quota(proc=proc),
        "instruction_sets": instruction_sets(proc=proc),
        "virtual": "hypervisor" in cpu["flags"].split() if "flags" in cpu else None,
        "governor": read_text(_GOVERNOR),
        "memory_bytes": meminfo("MemTotal", proc=proc),
        "load_average": load_average(),
        "os": _system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": package_versions(_PACKAGES),
    }


def instruction_sets(*, proc: Path = PROC) -> list[str]:
    """Return the instruction sets of this processor that matter here, by Linux's names; empty if unknown."""
    cpu = _cpuinfo(proc)
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    return [name for name in _INSTRUCTION_SETS if name in flags]


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed packages among these."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _system() -> str:
    """Return the system, its release, the architecture and the C library as text.

    `platform.platform` and `platform.processor` start a child process (``uname -p``). A signal could leave it behind.
    """
    system, mac, library = platform.uname(), platform.mac_ver()[0], "".join(platform.libc_ver())
    parts = ("macOS", mac) if mac else (system.system, system.release)
    return "-".join([*parts, system.machine, *(["with", library] if library else [])])


def _cpuinfo(proc: Path) -> dict[str, str]:
    """Return the fields of the first processor; empty if the system has no such file."""
    first = (read_text(proc / "cpuinfo") or "").split("\n\n", maxsplit=1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _board(cpu: dict[str, str], proc: Path) -> str:
    """Return what an Arm system reports in place of a model name: the board, and the number of the core's design."""
    parts = [cpu.get(key) for key in ("CPU implementer", "CPU part")]
    board = (read_text(proc / "device-tree" / "model") or "").strip("\0")
    return ", ".join(filter(None, [board, f"core {' '.join(filter(None, parts))}" if any(parts) else ""]))


def load_average() -> list[float] | None:
    """Return the load over 1, 5 and 15 minutes; None if the system does not report it."""
    try:
        return list(os.getloadavg())
    except (OSError, AttributeError):
        return None
