"""The memory that this process can have: what the machine has left, or its container's where that is less."""

from __future__ import annotations

from pathlib import Path

from segtool.machine.cgroups import CGROUPS, PROC, cgroup_folders, cgroup_value


def available_memory(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return the most bytes that this process could take without swapping; None where the system does not say.

    The machine's share is what Linux calls available. A container's is its whole limit, the least of its cgroups
    (version 2 or 1): what it uses already includes files that are cached and given up at need.
    """
    folders = cgroup_folders("memory", proc=proc, cgroups=cgroups)
    limits = (_limit(folder, name) for folder in folders for name in ("memory.max", "memory.limit_in_bytes"))
    return min((value for value in (_machine(proc), *limits) if value is not None), default=None)


def _machine(proc: Path) -> int | None:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(values[0]) * 1024 if values else None


def _limit(folder: Path, name: str) -> int | None:
    """Return a cgroup's limit in bytes; None where there is none ("max", or no such file)."""
    words = cgroup_value(folder, name)
    return int(words[0]) if words and words[0].isdecimal() else None
