"""The memory available to this process: the free memory of the machine, or the limit of its container if smaller."""

from __future__ import annotations

from pathlib import Path

from segtool.machine.cgroups import CGROUPS, PROC, cgroup_folders, cgroup_value, read_text


def available_memory(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return the maximum number of bytes that this process can use without swapping; None if unknown.

    For the machine this is the available memory of Linux. For a container it is its full limit, the smallest of its
    cgroups (version 2 or 1), because its used memory includes cached files that are released on demand.
    """
    folders = cgroup_folders("memory", proc=proc, cgroups=cgroups)
    limits = (_limit(folder, name) for folder in folders for name in ("memory.max", "memory.limit_in_bytes"))
    return min((value for value in (meminfo("MemAvailable", proc=proc), *limits) if value is not None), default=None)


def meminfo(name: str, *, proc: Path = PROC) -> int | None:
    """Return a field of Linux's /proc/meminfo, such as "MemTotal", in bytes; None if unknown."""
    lines = (read_text(proc / "meminfo") or "").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _limit(folder: Path, name: str) -> int | None:
    """Return the limit of a cgroup in bytes; None without a limit ("max", or no such file)."""
    words = cgroup_value(folder, name)
    return int(words[0]) if words and words[0].isdecimal() else None
