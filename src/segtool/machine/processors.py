"""The number of processors that this process may use, and the default number of threads.

In a container, both are usually smaller than the number of processors of the machine.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from segtool.errors import ProviderError
from segtool.machine.cgroups import CGROUPS, PROC, cgroup_folders, cgroup_value

THREADS_VARIABLE = "OMP_NUM_THREADS"


def default_threads() -> int:
    """Return the default number of threads of one run: OMP_NUM_THREADS, otherwise `available_cpus`.

    Raises
    ------
    ProviderError
        OMP_NUM_THREADS is not a number of threads.
    """
    return environment_threads() or available_cpus()


def environment_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the number of threads in OMP_NUM_THREADS; None if it is unset or empty.

    In a list such as "4,2" (OpenMP's nested levels) the first number counts, because a run has one level.

    Raises
    ------
    ProviderError
        It is not a number of threads.
    """
    text = environment.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    levels = [level.strip() for level in text.split(",")]
    if not all(level.isascii() and level.isdecimal() and int(level) > 0 for level in levels):
        raise ProviderError(
            f"{THREADS_VARIABLE} is {text!r}, expected a positive integer; correct it, unset it, or pass --threads N."
        )
    return int(levels[0])


def available_cpus(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the number of processors that this process may use, at least 1.

    This is the minimum of its affinity mask and its cgroup (v1 or v2) quota. The quota is rounded down, because one
    thread more than the quota throttles all threads.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(proc=proc, cgroups=cgroups)
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def cgroup_quota(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """Return the processor quota of the cgroups of this process, for example 1.5; None without a limit."""
    folders = cgroup_folders("cpu", proc=proc, cgroups=cgroups)
    return min((quota for folder in folders if (quota := _folder_quota(folder)) is not None), default=None)


def _folder_quota(folder: Path) -> float | None:
    """Return the processor quota of one cgroup folder (version 2, otherwise 1); None without a limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = cgroup_value(folder, *names)
            # "max" in version 2 and -1 in version 1 mean no limit.
            return float(quota) / float(period) if quota.isdecimal() and float(period) > 0 else None
        except ValueError:  # the other version, or an unexpected format
            continue
    return None
