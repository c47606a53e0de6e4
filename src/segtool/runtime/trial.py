"""Running a model of a stranger in a process of its own first: what would end the process is an error here.

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

TRIAL_SECONDS = 120.0
"""Time that a model has to open and to run once; also an accelerator that prepares itself for long is done by then."""

_TRIAL = """
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


def try_model(path: Path, *, provider: str, threads: int | None, seconds: float = TRIAL_SECONDS) -> None:
    """Open a model and run it once on zeros in a new Python process.

    Errors that are raised there are passed over: they are raised again where the model is opened for good.

    Raises
    ------
    ModelFileError
        The process was ended by onnxruntime, or took longer than `seconds`.
    """
    command = [sys.executable, "-c", _TRIAL, json.dumps([str(path), provider, threads])]
    try:
        finished = run_process(command, seconds=seconds)
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{path} did not open and run within {seconds:g} seconds in a trial; expected a file made by "
            "`segtool export`."
        ) from None
    if finished.returncode:
        said = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelFileError(
            f"{path} ended its process in a trial ({_reason(finished.returncode)}: {said[-200:]}); it is damaged or "
            "made to do harm, expected a file made by `segtool export`."
        )


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
