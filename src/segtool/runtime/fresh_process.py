"""What a model costs a process that does nothing else: the time to its first labels and the memory it takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from segtool.errors import ModelFileError

_REPEATS = 3

# Run by a new interpreter, which imports the runtime alone. The peak is VmHWM where there is one: ru_maxrss of a
# child starts at what its parent held when it forked, so that a large parent would be measured instead.
_PROBE = """
import json, sys, time
started, path, provider, options, threads, batch = json.loads(sys.argv[1])
import numpy
from segtool.runtime.segmenter import load
segmenter = load(path, provider=provider, threads=threads, provider_options=options)
shape = (batch, *segmenter.input_size, segmenter.contract.channels)
segmenter.predict_batch(numpy.zeros(shape, numpy.uint8))
seconds = time.time() - started
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
except (OSError, StopIteration):
    try:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        peak = None
print(json.dumps([seconds, peak]))
"""


def measure_cold_start(
    path: Path, *, provider: str, threads: int, batch: int, provider_options: Mapping[str, str] | None = None
) -> tuple[float, float | None]:
    """Start new Python processes that load a model and predict one batch.

    Returns
    -------
    tuple of float
        Median milliseconds from the start of the process to its first labels, and the largest peak of resident
        memory in MB (10^6 bytes); None where the system does not tell.

    Raises
    ------
    ModelFileError
        The process failed.
    """
    settings = (str(path), provider, dict(provider_options or {}), threads, batch)
    answers = [_probe(path, settings) for _ in range(_REPEATS)]
    peaks = [peak for _, peak in answers if peak is not None]
    return statistics.median(seconds for seconds, _ in answers) * 1e3, max(peaks) / 1e6 if peaks else None


def _probe(path: Path, settings: tuple[object, ...]) -> tuple[float, int | None]:
    arguments = json.dumps([time.time(), *settings])
    command = [sys.executable, "-c", _PROBE, arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own probe)
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelFileError(f"A new process could not run {path} ({reason}); run `segtool doctor`.")
    seconds, peak = json.loads(finished.stdout.splitlines()[-1])
    return seconds, peak
