"""Stop each command at 200 moments of its first second, by SIGTERM and SIGINT alternately: results/stops.json.

Expected: exit code 1, one sentence, no traceback, no unfinished file, no remaining process. A command that is already
done ends with its own exit code. `predict` finishes the images in work and ends with 3. Until segtool sets its
handlers, those of Python are active, or none; `last_before_handlers_ms` is the latest moment of a signal in this phase.

Usage: stops.py [MOMENTS [SECONDS [COMMAND...]]]. The results of other commands in the file are kept.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from commands import RESULTS, call, segtool, write_result

from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.files import TEMPORARY
from segtool.models.shipped import default_model

MOMENTS = 200
SECONDS = 1.0
PATIENCE = 120.0
EXIT_PARTLY = 3

COMMANDS: dict[str, tuple[str, ...]] = {
    "info": ("info", "model.onnx"),
    "verify": ("verify", "model.onnx"),
    "doctor": ("doctor",),
    "data info": ("data", "info", "m2nist-synthetic:500"),
    "data check": ("data", "check", "m2nist-synthetic:500"),
    "data make": ("data", "make", "made", "--count", "5000"),
    "predict": ("predict", "images", "--model", "model.onnx", "--color", "--overlay"),
    "predict --watch": ("predict", "--watch", "images", "--model", "model.onnx"),
    "evaluate": ("evaluate", "model.onnx", "--data", "m2nist-synthetic:2000", "--per-image", "scores.csv"),
    "benchmark": ("benchmark", "model.onnx", "--seconds", "60", "--out", "times.json"),
    "report": ("report", "model.onnx", "--data", "m2nist-synthetic:2000"),
    "train": ("train", "--data", "m2nist-synthetic:200", "--epochs", "50", "--out", "run"),
    "export": ("export", "run-of-before", "--quantize"),
    "quickstart": ("quickstart",),
}


def main() -> None:
    """Stop each command at each moment; count the outcomes by kind."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and hand that on
    moments = int(sys.argv[1]) if len(sys.argv) > 1 else MOMENTS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    names = sys.argv[3:] or list(COMMANDS)
    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs"
        _write_inputs(inputs, training="export" in names)
        times = np.linspace(0.0, seconds, moments, endpoint=False)
        for each in names:
            _write({each: {"moments": moments, "seconds": seconds, **_swept(each, inputs, times)}})


def _write(found: dict[str, Any]) -> None:
    """Write the outcomes of one command beside those of the others."""
    file = RESULTS / "stops.json"
    before = json.loads(file.read_bytes())["commands"] if file.exists() else {}
    write_result("stops", {"commands": {**before, **found}})


def _write_inputs(folder: Path, *, training: bool) -> None:
    folder.mkdir()
    shutil.copy(default_model(), folder / "model.onnx")
    write_samples(load_dataset("m2nist-synthetic:200"), np.arange(200), folder / "images")
    if training:
        segtool(
            *("train", "--data", "m2nist-synthetic:40", "--arch", "fcn8-edge-half", "--epochs", "1"),
            *("--out", "run-of-before"),
            cwd=folder,
        )


def _swept(name: str, inputs: Path, times: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the outcomes of one command by kind for each signal, each at every second moment, and the faults."""
    arguments = COMMANDS[name]
    found: dict[str, Any] = {"command": " ".join(["segtool", *arguments])}
    for number, own in ((signal.SIGTERM, times[::2]), (signal.SIGINT, times[1::2])):
        kinds: Counter[str] = Counter()
        faults, early = [], 0.0
        for moment in own.tolist():
            kind, seen = _stopped(arguments, inputs, number, moment)
            kinds[kind] += 1
            if kind == "fault":
                faults.append({"ms": round(1e3 * moment), **seen})
            elif kind == "before the handlers":
                early = max(early, 1e3 * moment)
        print(name, number.name, dict(kinds), faults, flush=True)
        found[number.name] = {"kinds": dict(kinds), "last_before_handlers_ms": round(early), "faults": faults}
    return found


def _stopped(
    arguments: tuple[str, ...], inputs: Path, number: signal.Signals, seconds: float
) -> tuple[str, dict[str, Any]]:
    """Start a command in a folder of its own and stop it after some seconds; return the kind of its end."""
    with tempfile.TemporaryDirectory() as name:
        folder, temporary = Path(name, "work"), Path(name, "tmp")
        shutil.copytree(inputs, folder, copy_function=os.link)
        temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(temporary), "HOME": name, "ORT_DISABLE_TELEMETRY": "1"}
        process = subprocess.Popen(
            call(*arguments),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(seconds)
        process.send_signal(number)
        try:
            _, stderr = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stderr = process.communicate()[1] + "\nno end"
        left = [str(path.relative_to(name)) for path in (*folder.rglob(f"{TEMPORARY}*"), *temporary.iterdir())]
        seen = {"exit_code": process.returncode, "stderr": stderr[-2000:], "left": left, "alive": _lives(process.pid)}
    return _kind(seen, number), seen


def _kind(seen: dict[str, Any], number: signal.Signals) -> str:
    """Return the kind of an end: stopped, partly done, done before, before the handlers, or fault."""
    code, text = seen["exit_code"], seen["stderr"]
    sentences = [line for line in text.splitlines() if line.startswith("Stopped")]
    if code in (1, -number) and not sentences and _is_of_python(text):
        return "before the handlers"
    if seen["left"] or seen["alive"] or any(word in text for word in ("Traceback", "Exception ignored", "Aborted")):
        return "fault"
    if code == 1 and len(sentences) == 1:
        return "stopped"
    if code == EXIT_PARTLY and len(sentences) <= 1:
        return "partly done"
    return "done before" if code == 0 and not sentences else "fault"


def _is_of_python(text: str) -> bool:
    """Whether nothing was printed, or the traceback of a KeyboardInterrupt with no frame of the command line."""
    return not text or (text.rstrip().endswith("KeyboardInterrupt") and "segtool/cli" not in text)


def _lives(group: int) -> bool:
    """Whether a process of a group is still there after a while, in which the system takes away those that ended."""
    for _ in range(20):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    main()
