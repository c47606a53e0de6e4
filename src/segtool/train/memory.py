"""Keeping freed memory in the process rather than giving it back to the kernel after every step."""

from __future__ import annotations

from segtool.machine.allocator import set_glibc

# glibc's mallopt parameters (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _STEP = 2**31 - 1, 64 * 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks instead of returning them to the kernel, for this process.

    TensorFlow allocates the activations of each step anew. glibc maps blocks of that size from the kernel and unmaps
    them when they are freed, so that every step faults in, and has the kernel zero, all its pages again. Measured on
    fcn8 in bfloat16, 40 steps of 8 images on two cores: 2,868 page faults instead of 355,297, 0.26 s of system time
    instead of 0.86 s, the same peak memory. What it saves in all is less certain: single runs, beside other work, had
    a median step of 63 ms instead of 71 ms at batches of 8, and nothing certain at batches of 32.

    Returns
    -------
    bool
        Whether it was done; elsewhere than on Linux with glibc nothing is changed.
    """
    return set_glibc({_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _STEP})
