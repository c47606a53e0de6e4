"""Freed memory stays in the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from segtool.train.callbacks import keep_freed_memory
kept = {keep} and keep_freed_memory()
for _ in range(20):
    block = bytearray(64 * 2**20)
    block[::4096] = bytes(len(block) // 4096)
    del block
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def _faults(*, keep: bool) -> tuple[bool, int]:
    call = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    kept, faults = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's mallopt is on Linux alone")
def test_blocks_are_reused_instead_of_mapped_anew() -> None:
    kept, with_it = _faults(keep=True)
    if not kept:
        pytest.skip("this C library is not glibc")
    assert with_it < _faults(keep=False)[1] / 4
