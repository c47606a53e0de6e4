"""Whether a batch fits the memory that is left: asked before it is run, because the kernel kills without a word."""

from __future__ import annotations

import math

from segtool.benchmark.cold_start import measure_cold_start
from segtool.benchmark.target import BenchmarkCase
from segtool.contract import ModelContract
from segtool.errors import DataError
from segtool.machine.memory import available_memory
from segtool.runtime.segmenter import Segmenter

# What a network holds at once beside its input and output, in units of those: known to be less for every
# architecture here. Only where a batch might not fit by it is the network itself asked.
_MOST_ACTIVATIONS = 500
_PROBE_BATCH = 17


def require_memory(case: BenchmarkCase, segmenter: Segmenter, *, sessions: int = 1) -> None:
    """Refuse a batch that takes more memory than is left.

    Its images and answers are counted. Where the rest of the network could make the difference, what an image more
    takes is measured in fresh processes with small batches.

    Parameters
    ----------
    case
        What is to be run.
    segmenter
        Its open model.
    sessions
        How many run it side by side.

    Raises
    ------
    DataError
        It does not fit; nothing was run.
    """
    memory = available_memory()
    if memory is None:
        return
    images = case.batch * sessions
    least = images * _io_bytes(segmenter.contract)
    if least > memory:
        raise _refusal(case, sessions, least, memory, "for its images and answers alone")
    if least * _MOST_ACTIVATIONS > memory and case.batch > _PROBE_BATCH:
        likely = images * _measured_bytes(case, segmenter.threads)
        if likely > memory:
            raise _refusal(case, sessions, likely, memory, "by what small batches take")


def _io_bytes(contract: ModelContract) -> int:
    """Return the bytes of one image as it is decoded, of its place in the batch, and of its answer."""
    pixels = contract.height * contract.width
    answer = contract.label_dtype.itemsize if contract.head == "labels" else 4 * contract.num_classes
    return pixels * (2 * contract.channels + answer)


def _measured_bytes(case: BenchmarkCase, threads: int) -> int:
    """Return the bytes by which the peak grows with each image of a batch; 0 where the system does not say."""
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
    side = f" in each of {sessions} sessions side by side" if sessions > 1 else ""
    return DataError(
        f"A batch of {case.batch}{side} takes {needed / 1e6:,.0f} MB {by}, and {memory / 1e6:,.0f} MB are left; "
        "measure a smaller --batch."
    )
