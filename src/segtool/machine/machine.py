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
_PACKAGES = (
    "segtool", "numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml",
    "onnxruntime-qnn", "pillow",
)  # fmt: skip


def machine_info(*, proc: Path = PROC, system: Path = Path("/sys")) -> dict[str, Any]:
    """Describe this machine and the resources of this process, ready for JSON.

    Returns
    -------
    dict
        `cpu` (model name), `cores` (logical cores of the machine), `available_cpus` and `cgroup_quota` (of this
        process; null without a limit), `instruction_sets`, `virtual` (whether it is a virtual machine; null if
        unknown), `frequency` (see `frequency_scaling`), `memory_bytes` (null if unknown), `load_average` (over 1, 5
        and 15 minutes; null if unknown), `os`, `architecture`, `python`, `packages`.
    """
    cpu = _cpuinfo(proc)
    return {
        "cpu": cpu.get("model name") or os.environ.get("PROCESSOR_IDENTIFIER") or platform.machine(),
        "cores": os.cpu_count(),
        "available_cpus": available_cpus(proc=proc),
        "cgroup_quota": cgroup_quota(proc=proc),
        "instruction_sets": instruction_sets(proc=proc),
        "virtual": "hypervisor" in cpu["flags"].split() if "flags" in cpu else None,
        "frequency": frequency_scaling(proc=proc, system=system),
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


def frequency_scaling(*, proc: Path = PROC, system: Path = Path("/sys")) -> dict[str, Any]:
    """Return the clock settings of the processors; unknown values, as in many virtual machines, are null.

    Returns
    -------
    dict
        `governor` and `driver` of frequency scaling, its limits `min_mhz` and `max_mhz`, `turbo` (whether the clock
        may exceed the nominal one), and `now_mhz`, the present clock of each processor.
    """
    cpus = system / "devices" / "system" / "cpu"
    scaling = cpus / "cpu0" / "cpufreq"
    limits = {name: read_text(scaling / f"scaling_{name}_freq") for name in ("min", "max")}
    return {
        "governor": read_text(scaling / "scaling_governor"),
        "driver": read_text(scaling / "scaling_driver"),
        **{f"{name}_mhz": int(value) / 1e3 if value else None for name, value in limits.items()},
        "turbo": _turbo(cpus),
        "now_mhz": _clocks(proc),
    }


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


def _clocks(proc: Path) -> list[float] | None:
    lines = (read_text(proc / "cpuinfo") or "").splitlines()
    return [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")] or None


def _turbo(cpus: Path) -> bool | None:
    """Return whether the clock may exceed the nominal one, from Intel's switch or the general one."""
    no_turbo, boost = read_text(cpus / "intel_pstate" / "no_turbo"), read_text(cpus / "cpufreq" / "boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def load_average() -> list[float] | None:
    """Return the load over 1, 5 and 15 minutes; None if the system does not report it."""
    try:
        return list(os.getloadavg())
    except (OSError, AttributeError):
        return None
