"""Trace each command with strace: sent data, and files outside of the requested ones: results/egress.json.

`python benchmarks/egress.py` runs the commands with an empty home. Each process stays alive for 20 s after its work,
because libraries send collected data periodically. The results for this version of onnxruntime are added to those for
other versions: run the script once in an environment with each. With Ray installed, it also runs `predict --engine
ray`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import strace
from commands import RESULTS, write_result

from segtool.data.loading import load_dataset
from segtool.data.make import write_samples
from segtool.machine.machine import package_versions
from segtool.models.shipped import SHIPPED
from segtool.runtime.engine import ort
from segtool.telemetry import VARIABLE, usage_events

HELD_SECONDS = 20
TINY = ("--seed", "1", "--epochs", "1")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("data", "make", "digits", "--count", "120"),
    ("data", "info", "digits"),
    ("data", "check", "digits"),
    ("predict", "digits/combined.npy", "--out", "shipped"),
    ("train", "--data", "digits", "--out", "run", "--arch", "fcn8-edge-half", *TINY),
    ("export", "--quantize", "--waive", "accuracy", "--waive", "speed"),
    ("predict", "images", "--out", "labels", "--overlay", "--contours"),
    ("predict", "--watch", "images", "--watch-idle", "1", "--out", "watched"),
    ("evaluate", "--data", "digits", "--pictures", "pictures.png"),
    ("benchmark", "--seconds", "1"),
    ("report", "--runs", "20", "--out", "report.html"),
    ("info",),
    ("verify",),
    ("doctor",),
    ("quickstart", "--out", "quick", "--images", "100", *TINY),
)
RAY = ("predict", "images", "--engine", "ray", "--out", "on-ray")
GATES = (0, 4)  # a network of one epoch may be refused by quickstart's gates, behind all the work

NAMED = {
    "work": "the folder that the user gave, or works in",
    "temporary": "the folder for temporary files (TMPDIR); nothing is left in it when a command ends",
    "compiled": "__pycache__ beside the sources: Python keeps what it compiled (PYTHONDONTWRITEBYTECODE=1 forbids it)",
    "no file": "/dev/null, the names of a process's own threads in /proc, and how readily it is ended for memory",
    "nameless": "a file that never has a name, by which doctor sees whether the cache folder can be written",
    "shared memory": "/dev/shm: joblib and multiprocessing, which training imports, see whether there are semaphores, "  # noqa: S108
    "and Ray keeps its objects there; both remove the name at once",
    strace.LOCAL_FILE: "Ray's processes among each other, and the C library's cache of names",
    strace.KERNEL: "Ray and the C library ask for this machine's addresses",
    strace.LOOPBACK: "urllib3, which training imports, sees whether there is IPv6; Ray's processes among each other",
}
"""Where a command may write, and what a socket may be for."""

RAY_NAMED = {
    strace.OWN_ADDRESS: "Ray's processes among each other",
    strace.EVERY_INTERFACE: "Ray's processes wait for each other; a token keeps others out",
    strace.NAME_SERVER: "Ray looks up the metadata server of a cloud, to learn whether it is there, and lets the "
    "kernel say by which address it would reach a name server (nothing is sent)",
    strace.METADATA: "Ray asks it in which cloud it is, even with usage statistics off; it sends the answer nowhere",
    "home/.ray": "the token (home/.ray/auth_token)",
    "temporary/ray": "Ray's logs of the session, left behind",
}
"""What Ray does where it starts a cluster on this machine, and has no switch for."""

_OUTSIDE = {
    "compiled": "/__pycache__(/|$)",
    "no file": r"^/dev/null$|^/proc/\d+/(task/\d+/comm|oom_score_adj)$",
    "shared memory": r"^/dev/shm/(sem\.|plasma)",
}

# Says through a pipe how the command ended, and stays.
HOLD = """
import os, runpy, sys, time
pipe, seconds = int(sys.argv[1]), float(sys.argv[2])
sys.argv[:3] = ["segtool"]
code = 1
try:
    runpy.run_module("segtool", run_name="__main__")
    code = 0
except SystemExit as ended:
    code = ended.code or 0
finally:
    os.write(pipe, bytes([code]))
    time.sleep(seconds)
"""


@dataclass(frozen=True)
class Started:
    """A command under strace, and the folders that it was given."""

    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes]
    code: int
    seconds: float
    folder: Path


def main() -> None:
    """Run the commands and the control, write what was seen, and exit with 1 where one is not as it should be."""
    if not strace.works():
        sys.exit("strace does not work here; install it, and allow ptrace.")
    commands = [*COMMANDS, RAY] if package_versions(["ray"]) else [*COMMANDS]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / "work"
        work.mkdir()
        write_samples(load_dataset("m2nist-synthetic:20"), np.arange(20), work / "images")
        started = [start(arguments, Path(name), work) for arguments in commands]
        switched_on = start(("verify", str(SHIPPED)), Path(name), work, **{VARIABLE: "0"})
        rows = [row(command, work) for command in started]
        control = row(switched_on, work)
    control["command"] = f"{VARIABLE}=0 segtool verify"
    sends = usage_events(ort.__version__, {}) == "on"
    failed = [item["command"] for item in rows if item["not_named"] or item["exit_code"] not in GATES]
    if bool(control["not_named"]) != sends:
        failed.append(control["command"])
    run = {
        "versions": package_versions(["segtool", "onnxruntime", "tensorflow", "keras", "matplotlib", "ray", "numpy"]),
        "failed": failed,
        "commands": rows,
        "control": control,
    }
    seen = {"held_seconds": HELD_SECONDS, "named": NAMED, "named_of_ray": RAY_NAMED}
    write_result("egress", {**seen, "runs": {**earlier(), ort.__version__: run}})
    sys.exit(f"not as it should be: {', '.join(failed)}" if failed else 0)


def earlier() -> dict[str, Any]:
    """Return the runs of other versions of onnxruntime."""
    path = RESULTS / "egress.json"
    runs: dict[str, Any] = json.loads(path.read_bytes())["runs"] if path.is_file() else {}
    return runs


def start(arguments: tuple[str, ...], place: Path, work: Path, **variables: str) -> Started:
    """Run `segtool ARGUMENTS` with an empty home; return when its work is done, while the process stays."""
    print("$ segtool", *arguments, flush=True)
    folder = Path(tempfile.mkdtemp(dir=place))
    for name in ("home", "temporary", "trace"):
        (folder / name).mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}
    reading, writing = os.pipe()
    command = [sys.executable, "-c", HOLD, str(writing), str(HELD_SECONDS), *arguments]
    began = time.perf_counter()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            strace.call(command, folder / "trace"),
            cwd=work,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
        )
    os.close(writing)
    code = os.read(reading, 1)
    os.close(reading)
    return Started(arguments, process, code[0] if code else 1, time.perf_counter() - began, folder)


def row(command: Started, work: Path) -> dict[str, Any]:
    """Wait for the process to end, and return what it did."""
    command.process.wait()
    trace = strace.read(command.folder / "trace", work)
    written = Counter(where(path, command.folder, work) for _, path in trace.files)
    left = {where(path, command.folder, work, left=True) for path in _files_left(command.folder)}
    sockets = Counter(place for places in trace.sockets.values() for place in places or ["no address"])
    named = NAMED | (RAY_NAMED if "ray" in command.arguments else {})
    not_named = sorted({*strace.not_local(trace), *written, *left} - named.keys())
    if command.code not in GATES or not_named:
        print((command.folder / "output").read_text(errors="replace")[-2000:], *not_named, sep="\n")
    return {
        "command": " ".join(["segtool", *command.arguments]),
        "exit_code": command.code,
        "seconds": round(command.seconds, 1),
        "sockets": dict(sorted(sockets.items())),
        "files_written": dict(sorted(written.items())),
        "not_named": not_named,
    }


def _files_left(folder: Path) -> list[Path]:
    found = [path for name in ("home", "temporary") for path in (folder / name).rglob("*")]
    return [path for path in found if not path.is_dir()]


def where(path: Path, folder: Path, work: Path, *, left: bool = False) -> str:
    """Return one of `NAMED` or `RAY_NAMED`, or a path without the folders of this machine."""
    inside = str(path.relative_to(folder)) if path.is_relative_to(folder) else ""
    if path.is_relative_to(work):
        return "work"
    if inside.startswith(("home/.ray", "temporary/ray")):
        return "/".join(inside.split("/")[:2])
    if inside.startswith("temporary") and not left:
        return "temporary"
    if inside:
        return "nameless" if re.fullmatch(r"home/#\d+", inside) else inside
    return next((name for name, pattern in _OUTSIDE.items() if re.search(pattern, str(path))), str(path))


if __name__ == "__main__":
    main()
