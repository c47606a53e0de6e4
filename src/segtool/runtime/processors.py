"""How many processors this process may use, which in a container is seldom how many the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_cpus(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of processors that this process may use, at least 1.

    That is the least of its affinity mask and its cgroup (v1 or v2) quota, the latter rounded down: a thread
    more than the quota pays for gets all of them throttled.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(proc=proc, cgroups=cgroups)
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def cgroup_quota(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the processors that the cgroups of this process pay for, for example 1.5; None without a limit."""
    quotas = [quota for folder in _cgroup_folders(proc, cgroups) if (quota := _folder_quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroup_folders(proc: Path, cgroups: Path) -> list[Path]:
    """Return the cgroup folders that bind this process's processor time: its own and all above it."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    folders = [cgroups, cgroups / "cpu"]  # in a container its own group often appears as the root
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / controllers if controllers else cgroups
        own = root / name.lstrip("/")
        folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return folders


def _folder_quota(folder: Path) -> float | None:
    """Return the processors that one cgroup folder allows (version 2's file, else version 1's); None without limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            return None
    return float(quota) / float(period) if quota.isdigit() and float(period) > 0 else None
