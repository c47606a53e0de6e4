"""The C library's memory: how much of it threads keep for themselves, and what becomes of what is freed."""

from __future__ import annotations

import ctypes
import os
import sys

_ARENA_MAX = -8  # of glibc's malloc.h


def set_glibc(settings: dict[int, int]) -> bool:
    """Give glibc's mallopt some parameters, for this process; return whether it took all, other C libraries none.

    Parameters
    ----------
    settings
        Values by the numbers of parameters in glibc's malloc.h.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return mallopt is not None and all(bool(mallopt(*setting)) for setting in settings.items())


def share_memory() -> bool:
    """Let the threads of this process take memory from one place; return whether the C library does so.

    glibc gives each thread a place of its own, which grows for long as different images meet in it: from 200 to 20,000
    small ones on two cores by 4 MB, with one place by 1 MB. To be called before there are threads. A number that the
    user set, and other C libraries, are left as they are.
    """
    is_set = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    return not is_set and set_glibc({_ARENA_MAX: 1})
