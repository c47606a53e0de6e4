"""Cold start of a model in a new process: time to the first labels, and peak memory."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from segtool.benchmark.case import BenchmarkCase
from segtool.errors import ModelFileError
from segtool.stopping import run_process

REPEATS = 5

PHASES = ("start", "import", "load", "first")
"""Start of Python; import of the runtime; opening the model; first inference."""

# Run by a new interpreter, which imports only the runtime. The peak is VmHWM if available: ru_maxrss of a child starts
# at the memory of its parent at the fork, so that a large parent would be measured instead.
_PROBE = """
import time
marks = [time.time()]
import json, sys
path, provider, options, threads, batch = json.loads(sys.argv[1])
import numpy
from segtool.runtime.opening import load
marks.append(time.time())
segmenter = load(path, provider=provider, threads=threads, provider_options=options)
marks.append(time.time())
shape = (batch, *segmenter.input_size, segmenter.contract.channels)
segmenter.predict_batch(numpy.zeros(shape, numpy.uint8))
marks.append(time.time())
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
except (OSError, StopIteration):
    try:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        peak = None
print(json.dumps([marks, peak]))
"""


def measure_cold_start(case: BenchmarkCase, *, threads: int, repeats: int = REPEATS) -> dict[str, Any]:
    """Start `repeats` new Python processes that load a model with these threads and predict one batch.

    Returns
    -------
    dict
        `cold_start_ms`, the median time from the start of the process to its first labels; `cold_start`, the number
        `n` of processes, their `min` and `max`, and the median of each of `PHASES`, all in ms; `peak_rss_mb`, the
        largest peak of resident memory in MB (10^6 bytes), or None if the system does not report it.

    Raises
    ------
    ModelFileError
        The process failed.
    """
    found = [_probe(case, threads) for _ in range(repeats)]
    times, peaks = np.array([times for times, _ in found]), [peak for _, peak in found if peak is not None]
    totals, medians = times.sum(axis=1), np.median(times, axis=0).tolist()
    return {
        "cold_start_ms": float(np.median(totals)),
        "cold_start": {
            "n": repeats,
            "min_ms": float(totals.min()),
            "max_ms": float(totals.max()),
            **{f"{name}_ms": value for name, value in zip(PHASES, medians, strict=True)},
        },
        "peak_rss_mb": max(peaks) / 1e6 if peaks else None,
    }


def _probe(case: BenchmarkCase, threads: int) -> tuple[list[float], int | None]:
    """Return the milliseconds of each phase of one process, and its peak memory in bytes."""
    settings = (str(case.path), case.provider, dict(case.provider_options), threads, case.batch)
    started = time.time()
    finished = run_process([sys.executable, "-c", _PROBE, json.dumps(settings)])
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelFileError(f"A new process could not run {case.path} ({reason}); run `segtool doctor`.")
    marks, peak = json.loads(finished.stdout.splitlines()[-1])
    return (np.diff([started, *marks]) * 1e3).tolist(), peak
