"""Cold start of a model in a new process: time to the first labels, and peak memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class ColdStart:
    """The measurements of new processes.

    Attributes
    ----------
    milliseconds
        Time of each phase of each process (processes, `PHASES`).
    peaks
        Peak resident memory of each process in bytes; empty if the system does not report it.
    """

    milliseconds: npt.NDArray[np.float64]
    peaks: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for a benchmark.

        Returns
        -------
        dict
            `cold_start_ms`, the median time from the start of the process to its first labels; `cold_start`, the
            number `n` of processes, their `min` and `max`, and the median of each of `PHASES`, all in ms;
            `peak_rss_mb`, the largest peak of memory in MB (10^6 bytes), or None.
        """
        totals = self.milliseconds.sum(axis=1)
        medians = np.median(self.milliseconds, axis=0).tolist()
        phases = {f"{name}_ms": value for name, value in zip(PHASES, medians, strict=True)}
        spread = {"n": len(totals), "min_ms": float(totals.min()), "max_ms": float(totals.max())}
        return {
            "cold_start_ms": float(np.median(totals)),
            "cold_start": {**spread, **phases},
            "peak_rss_mb": max(self.peaks) / 1e6 if self.peaks else None,
        }


def measure_cold_start(
    path: Path,
    *,
    provider: str,
    threads: int,
    batch: int,
    provider_options: Mapping[str, str] | None = None,
    repeats: int = REPEATS,
) -> ColdStart:
    """Start new Python processes that load a model and predict one batch.

    Raises
    ------
    ModelFileError
        The process failed.
    """
    settings = (str(path), provider, dict(provider_options or {}), threads, batch)
    answers = [_probe(path, settings) for _ in range(repeats)]
    peaks = tuple(peak for _, peak in answers if peak is not None)
    return ColdStart(np.array([times for times, _ in answers]), peaks)


def _probe(path: Path, settings: tuple[object, ...]) -> tuple[list[float], int | None]:
    """Return the milliseconds of each phase of one process, and its peak memory in bytes."""
    command = [sys.executable, "-c", _PROBE, json.dumps(settings)]
    started = time.time()
    finished = run_process(command)
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelFileError(f"A new process could not run {path} ({reason}); run `segtool doctor`.")
    marks, peak = json.loads(finished.stdout.splitlines()[-1])
    return (np.diff([started, *marks]) * 1e3).tolist(), peak
