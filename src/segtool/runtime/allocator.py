"""The C library's memory: how much of it threads keep for themselves."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_memory() -> bool:
    """Let the threads of this process take memory from one place; return whether the C library does so.

    glibc gives each thread a place of its own, which grows for long as different images meet in it: 20,000 small ones
    on two cores took 4 MB more than 200, and take 1 MB more so. To be called before there are threads. A number that
    the user set, and other C libraries, are left as they are.
    """
    is_set = "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", "")
    if is_set or sys.platform != "linux":
        return False
    with suppress(AttributeError, OSError):  # musl has no such function
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False
