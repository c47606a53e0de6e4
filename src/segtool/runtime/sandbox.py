"""Run an untrusted model in a separate process first, so that a crash becomes an error.

onnxruntime raises an error for nearly all invalid graphs, but not for all: benchmarks/fuzz_inputs.py finds a few in
ten thousand on which it aborts the process. The process itself cannot catch an abort.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from segtool.errors import ModelFileError
from segtool.stopping import run_process

SANDBOX_SECONDS = 120.0
"""Time limit for opening a model and running it once; long enough for accelerators with a long preparation."""

_SANDBOX = """
import json, sys
import numpy
from segtool.errors import SegtoolError
from segtool.runtime.opening import load
path, provider, threads = json.loads(sys.argv[1])
try:
    segmenter = load(path, provider=provider, threads=threads)
    segmenter.predict_batch(numpy.zeros((1, *segmenter.input_size, segmenter.contract.channels), numpy.uint8))
except SegtoolError:
    pass
"""


def try_in_sandbox(path: Path, *, provider: str, threads: int | None, seconds: float = SANDBOX_SECONDS) -> None:
    """Open a model and run it once on zeros in a new Python process.

    Errors that are raised there are ignored: they are raised again when this process opens the model.

    Raises
    ------
    ModelFileError
        The process was aborted, or took longer than `seconds`.
    """
    command = [sys.executable, "-c", _SANDBOX, json.dumps([str(path), provider, threads])]
    try:
        finished = run_process(command, seconds=seconds)
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{path} did not open and run within {seconds:g} seconds in the sandbox; expected a file of "
            "`segtool export`."
        ) from None
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelFileError(
            f"{path} crashed its process in the sandbox ({_reason(finished.returncode)}: {last[-200:]}). It is "
            "damaged or malicious; expected a file of `segtool export`."
        )


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
