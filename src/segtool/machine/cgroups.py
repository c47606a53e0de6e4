"""The control groups (versions 1 and 2) that limit this process: its own group and all parents."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def cgroup_folders(controller: str, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> list[Path]:
    """Return the folders that can contain a limit of a controller, such as "cpu" or "memory", for this process.

    All of them apply, so the smallest limit counts. Some folders may not exist.

    Parameters
    ----------
    controller
        Its name in version 1.
    proc, cgroups
        Mount points of the two file systems.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    folders = [cgroups, cgroups / controller]  # in a container, its own group often appears as the root
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 mounts each group of controllers ("cpu,cpuacct"), often with a link of the short name to it. If
        # both versions are mounted, version 2 is in "unified".
        roots = (cgroups / controllers, cgroups / controller) if controllers else (cgroups, cgroups / "unified")
        for root in dict.fromkeys(roots):
            own = root / name.lstrip("/")
            folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return list(dict.fromkeys(folders))


def cgroup_value(folder: Path, *names: str) -> list[str]:
    """Return the words in related files of a folder; none if one of them cannot be read."""
    try:
        return " ".join((folder / name).read_text() for name in names).split()
    except (OSError, UnicodeDecodeError):
        return []
