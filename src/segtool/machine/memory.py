"""The memory that this process can have: what the machine has left, or its container's where that is less."""

from __future__ import annotations

from pathlib import Path


def available_memory(*, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the most bytes that this process could take without swapping; None where the system does not say.

    The machine's share is what Linux calls available. A container's is its whole limit, which its own cgroup (version
    2 or 1) shows at the root of `cgroups`: what it uses already includes files that are cached and given up at need.
    """
    limits = (cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes")
    known = [value for value in (_machine(proc), *map(_limit, limits)) if value is not None]
    return min(known, default=None)


def _machine(proc: Path) -> int | None:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(values[0]) * 1024 if values else None


def _limit(path: Path) -> int | None:
    """Return a cgroup's limit; None where there is none ("max", or no such file)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
