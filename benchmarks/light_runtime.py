"""The overhead of segtool over onnxruntime: for an import, one prediction, and a full process.

`python benchmarks/light_runtime.py MODEL [--rounds 20]`, in an environment with only the base install, writes
results/light_runtime.json. A full process is timed with MODEL and with the model in the package. The latter is the
harder case, because the overhead matters more for a small model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from commands import call, write_result
from PIL import Image

import segtool
from segtool.benchmark.statistics import percentiles, ratio_of
from segtool.models.shipped import SHIPPED
from segtool.runtime.engine import ort

# What someone would write without segtool: open a PNG, make a session, run it.
BARE = """
import sys
import numpy, onnxruntime
from PIL import Image
image = numpy.array(Image.open(sys.argv[2]))[None, ..., None]
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
labels = session.run(None, {"image": image})[0]
"""
RUNS_A_TURN = 20


def main() -> None:
    """Measure interleaved and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        image = _image(arguments.model, Path(name) / "one.png")
        write_result(
            "light_runtime",
            {
                "versions": {"segtool": segtool.__version__, "onnxruntime": ort.__version__, "numpy": np.__version__},
                "imports": _imports(arguments.rounds),
                "whole_process": _processes(arguments.model, image, Path(name), arguments.rounds),
                "whole_process_shipped": _processes(SHIPPED, image, Path(name), arguments.rounds),
                "one_prediction": _predictions(arguments.model, image, 2 * arguments.rounds),
            },
        )


def _image(model: Path, path: Path) -> Path:
    contract = segtool.load(model).contract
    pixels = np.random.default_rng(0).integers(0, 256, (contract.height, contract.width), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _imports(rounds: int) -> dict[str, Any]:
    """Time fresh interpreters; the time of one that imports nothing is given beside them."""
    commands = {
        "nothing": [sys.executable, "-c", "pass"],
        "onnxruntime_numpy": [sys.executable, "-c", "import onnxruntime, numpy"],
        "segtool": [sys.executable, "-c", "import segtool"],
    }
    return _compared(_timed_processes(commands, rounds), ours="segtool", theirs="onnxruntime_numpy", limit=1.3)


def _processes(model: Path, image: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Time `segtool predict one.png` as a whole against a bare script that does the same but write."""
    predict = call("predict", str(image), "--model", str(model), "--out", str(folder / "out"), "--overwrite")
    commands = {
        "bare_script": [sys.executable, "-c", BARE, str(model), str(image)],
        "segtool_predict": predict,
    }
    return _compared(_timed_processes(commands, rounds), ours="segtool_predict", theirs="bare_script", limit=1.5)


def _timed_processes(commands: Mapping[str, Sequence[str | bytes]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env={**os.environ})
            if turn:  # the first fills the disk cache
                times[name].append(time.perf_counter() - started)
    return times


def _predictions(model: Path, image: Path, rounds: int) -> dict[str, Any]:
    """Time `Segmenter(image)` against `session.run` of the same file, one thread each."""
    segmenter = segtool.load(model, provider="cpu", threads=1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    pixels = np.array(Image.open(image))
    batch = pixels[None, ..., None]
    calls: dict[str, Callable[[], Any]] = {
        "session_run": lambda: session.run(None, {"image": batch}),
        "segmenter": lambda: segmenter(pixels),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, function in calls.items():
            times[name].append(_median_of_turn(function))
    return _compared(times, ours="segmenter", theirs="session_run", limit=1.05)


def _median_of_turn(function: Callable[[], Any]) -> float:
    times = []
    for run in range(RUNS_A_TURN + 5):
        started = time.perf_counter()
        function()
        if run >= 5:
            times.append(time.perf_counter() - started)
    return float(np.median(times))


def _compared(times: dict[str, list[float]], *, ours: str, theirs: str, limit: float) -> dict[str, Any]:
    ratio = ratio_of(np.array(times[ours]) / np.array(times[theirs]))
    over = float(np.median(times[ours]) / np.median(times[theirs]))
    return {
        "milliseconds": {name: percentiles(np.array(values) * 1e3) for name, values in times.items()},
        "ratio_of_medians": round(over, 4),
        "ratio_by_turn": {"median": ratio.median, "low": ratio.low, "high": ratio.high},
        "limit": limit,
        "met": over < limit,
    }


if __name__ == "__main__":
    main()
