"""How many processors this process may use, and how many threads it therefore starts.

In a container that is seldom how many the machine has.
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
    """Return the threads of one run where nobody said: OMP_NUM_THREADS, else `available_cpus`.

    Raises
    ------
    ProviderError
        OMP_NUM_THREADS is no number of threads.
    """
    return environment_threads() or available_cpus()


def environment_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the threads that OMP_NUM_THREADS asks for; None where it is not set or empty.

    Of a list such as "4,2" (OpenMP's nested levels) the first counts, as a run has one level.

    Raises
    ------
    ProviderError
        It is no number of threads.
    """
    text = environment.get(THREADS_VARIABLE, "").strip()
    if not text:
        return None
    levels = [level.strip() for level in text.split(",")]
    if not all(level.isascii() and level.isdecimal() and int(level) > 0 for level in levels):
        raise ProviderError(
            f"{THREADS_VARIABLE} is {text!r}; expected a positive whole number: correct it, unset it, or say how many "
            "threads there are to be (--threads)."
        )
    return int(levels[0])


def available_cpus(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the number of processors that this process may use, at least 1.

    That is the least of its affinity mask and its cgroup (v1 or v2) quota, the latter rounded down: a thread
    more than the quota pays for gets all of them throttled.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(proc=proc, cgroups=cgroups)
    return max(1, allowed if quota is None else min(allowed, math.floor(quota)))


def cgroup_quota(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> float | None:
    """Return the processors that the cgroups of this process pay for, for example 1.5; None without a limit."""
    folders = cgroup_folders("cpu", proc=proc, cgroups=cgroups)
    return min((quota for folder in folders if (quota := _folder_quota(folder)) is not None), default=None)


def _folder_quota(folder: Path) -> float | None:
    """Return the processors that one cgroup folder allows (version 2's file, else version 1's); None without limit."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = cgroup_value(folder, *names)
            # No limit is "max" in version 2 and -1 in version 1.
            return float(quota) / float(period) if quota.isdecimal() and float(period) > 0 else None
        except ValueError:  # the other version, or not what the kernel writes
            continue
    return None
