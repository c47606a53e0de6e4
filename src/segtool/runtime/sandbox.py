"""Run an untrusted model in a process of its own first: a crash of that process is an error here.

onnxruntime raises on nearly every graph that makes no sense, but not on all: benchmarks/fuzz_inputs.py finds a few in
ten thousand on which it aborts. Code that is already running cannot catch that.
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
"""Time that a model has to open and to run once; also an accelerator that prepares itself for long is done by then."""

_SANDBOX = """
import json, sys
import numpy
from segtool.errors import SegtoolError
from segtool.runtime.segmenter import load
path, provider, threads = json.loads(sys.argv[1])
try:
    segmenter = load(path, provider=provider, threads=threads)
    segmenter.predict_batch(numpy.zeros((1, *segmenter.input_size, segmenter.contract.channels), numpy.uint8))
except SegtoolError:
    pass
"""


def try_in_sandbox(path: Path, *, provider: str, threads: int | None, seconds: float = SANDBOX_SECONDS) -> None:
    """Open a model and run it once on zeros in a new Python process.

    Errors that are raised there are passed over: they are raised again where the model is opened for good.

    Raises
    ------
    ModelFileError
        The process was ended by onnxruntime, or took longer than `seconds`.
    """
    command = [sys.executable, "-c", _SANDBOX, json.dumps([str(path), provider, threads])]
    try:
        finished = run_process(command, seconds=seconds)
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{path} did not open and run within {seconds:g} seconds in the sandbox; expected a file made by "
            "`segtool export`."
        ) from None
    if finished.returncode:
        said = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelFileError(
            f"{path} ended its process in the sandbox ({_reason(finished.returncode)}: {said[-200:]}); it is "
            "damaged or malicious, expected a file made by `segtool export`."
        )


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
