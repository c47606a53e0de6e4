"""Check before a run that a batch fits in memory, because the kernel would kill the process without a message."""

from __future__ import annotations

import math

from segtool.benchmark.cold_start import measure_cold_start
from segtool.benchmark.target import BenchmarkCase
from segtool.contract import ModelContract
from segtool.errors import DataError
from segtool.machine.memory import available_memory
from segtool.runtime.segmenter import Segmenter

# Upper bound of the memory of a network beside its input and output, in units of these, for all architectures here. The
# network itself is measured only if a batch might not fit by this bound.
_MOST_ACTIVATIONS = 500
_PROBE_BATCH = 17


def require_memory(case: BenchmarkCase, segmenter: Segmenter, *, sessions: int = 1) -> None:
    """Refuse a batch that needs more memory than is available.

    Its images and outputs are counted. If the memory of the network is decisive, the memory per image is measured in
    new processes with small batches.

    Parameters
    ----------
    case
        The case to run.
    segmenter
        Its open model.
    sessions
        Number of parallel sessions.

    Raises
    ------
    DataError
        The batch does not fit; nothing was run.
    """
    memory = available_memory()
    if memory is None:
        return
    images = case.batch * sessions
    least = images * _io_bytes(segmenter.contract)
    if least > memory:
        raise _refusal(case, sessions, least, memory, "for its images and outputs alone")
    if least * _MOST_ACTIVATIONS > memory and case.batch > _PROBE_BATCH:
        likely = images * _measured_bytes(case, segmenter.threads)
        if likely > memory:
            raise _refusal(case, sessions, likely, memory, "estimated from small batches")


def _io_bytes(contract: ModelContract) -> int:
    """Return the bytes of one decoded image, of its place in the batch, and of its output."""
    pixels = contract.height * contract.width
    answer = contract.label_dtype.itemsize if contract.head == "labels" else 4 * contract.num_classes
    return pixels * (2 * contract.channels + answer)


def _measured_bytes(case: BenchmarkCase, threads: int) -> int:
    """Return the growth of the memory peak per image of a batch in bytes; 0 if the system does not report it."""
    peaks = [
        measure_cold_start(
            case.path,
            provider=case.provider,
            threads=threads,
            batch=batch,
            provider_options=case.provider_options,
            repeats=1,
        ).peaks
        for batch in (1, _PROBE_BATCH)
    ]
    if not all(peaks):
        return 0
    return max(0, math.floor((max(peaks[1]) - max(peaks[0])) / (_PROBE_BATCH - 1)))


def _refusal(case: BenchmarkCase, sessions: int, needed: int, memory: int, by: str) -> DataError:
    side = f" in each of {sessions} parallel sessions" if sessions > 1 else ""
    return DataError(
        f"A batch of {case.batch}{side} needs {needed / 1e6:,.0f} MB {by}, but {memory / 1e6:,.0f} MB are available; "
        "use a smaller --batch."
    )
