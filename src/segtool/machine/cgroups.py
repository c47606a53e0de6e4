"""Files of /proc and /sys, and the control groups (versions 1 and 2) that limit this process."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def read_text(path: Path) -> str | None:
    """Return the content of a system file; None if it is missing, unreadable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def cgroup_folders(controller: str, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> list[Path]:
    """Return the folders that can contain a limit of a controller, such as "cpu" or "memory", for this process.

    All of them apply, so the smallest limit counts: its own group and all parents. Some folders may not exist.
    """
    lines = (read_text(proc / "self" / "cgroup") or "").splitlines()
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
    texts = [read_text(folder / name) for name in names]
    return " ".join(text for text in texts if text).split() if all(texts) else []
