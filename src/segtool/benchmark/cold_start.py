"""What a model costs a process that does nothing else: the time to its first labels and the memory it takes."""

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
"""Python's own start; importing the runtime; opening the model; the first inference."""

# Run by a new interpreter, which imports the runtime alone. The peak is VmHWM where there is one: ru_maxrss of a
# child starts at what its parent held when it forked, so that a large parent would be measured instead.
_PROBE = """
import time
marks = [time.time()]
import json, sys
path, provider, options, threads, batch = json.loads(sys.argv[1])
import numpy
from segtool.runtime.segmenter import load
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
    """What fresh processes took.

    Attributes
    ----------
    milliseconds
        Of each process (processes, `PHASES`).
    peaks
        Each one's peak of resident memory in bytes; empty where the system does not tell.
    """

    milliseconds: npt.NDArray[np.float64]
    peaks: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what a benchmark says of it.

        Returns
        -------
        dict
            `cold_start_ms`, the median from the start of the process to its first labels; `cold_start`, the number
            `n` of processes, their `min` and `max`, and the median of each of `PHASES`, all in ms; `peak_rss_mb`, the
            largest peak of memory in MB (10^6 bytes), or None.
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
