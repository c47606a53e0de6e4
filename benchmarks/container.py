"""Size and start time of the base install in a container, built as a chroot, because no container engine is needed.

`python benchmarks/container.py [--rounds 10]`, as root on Linux, writes results/container.json. The chroot has what the
Dockerfile installs: the interpreter of this environment with its standard library, the base install, and the shared
libraries that both load. It runs as the Dockerfile states it: as user 10001, with a read-only root, without a network.
A base image adds its own files to the size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import strace
from commands import write_result
from install_size import ROOT
from PIL import Image

from segtool.benchmark.statistics import percentiles
from segtool.models.shipped import SHIPPED

USER = 10001
STDLIB = Path("usr/local/lib", f"python3.{sys.version_info.minor}")
PYTHON = f"/usr/local/bin/python3.{sys.version_info.minor}"
LATEST = Path("runs/latest")  # of the folder in which chroot starts, the root
ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PATH": "/usr/local/bin:/usr/sbin:/usr/bin",
}
COMMANDS = {
    "python": ["-c", "pass"],
    "verify": ["-m", "segtool", "verify", "--quiet"],
    "predict": ["-m", "segtool", "predict", "/in/one.png", "--out", "/out", "--overwrite", "--quiet"],
}
# Not in the slim images of Python.
LEFT_OUT = (
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "ensurepip",
    "turtledemo",
    "__pycache__",
    "config-*",
)


def main() -> None:
    """Build the root, run in it, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(_inside(arguments.inside, arguments.rounds)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        root = folder / "root"
        sizes = _build(root)
        image = np.random.default_rng(0).integers(0, 256, (64, 84), np.uint8)
        Image.fromarray(image).save(root / "in" / "one.png")
        plain = _measured(root, arguments.rounds)
        _compile(root)
        compiled = _measured(root, arguments.rounds)
    write_result(
        "container",
        {
            "python": sys.version.split()[0],
            "load_average": [round(load, 1) for load in os.getloadavg()],
            "size_mb": sizes,
            "without_bytecode_of_python": plain,
            "as_built": compiled,
        },
    )


def _build(root: Path) -> dict[str, float]:
    """Fill the root; return its parts in MB."""
    for folder in ("usr/local/bin", "in", "out", "proc", "dev", LATEST):
        (root / folder).mkdir(parents=True)
    shutil.chown(root / "out", USER, USER)
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    source = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(source, root / STDLIB, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copy(Path(sys.base_prefix, "bin", Path(PYTHON).name), root / PYTHON[1:])
    packages = root / STDLIB / "site-packages"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, ROOT], check=True)
    shutil.copy(SHIPPED, root / LATEST / "model.int8.onnx")
    for library in _libraries(root):
        (root / str(library)[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / str(library)[1:])
    whole, installed = _megabytes(root), _megabytes(packages)
    python = _megabytes(root / STDLIB) - installed + _megabytes(root / PYTHON[1:])
    return {
        "packages": installed,
        "python": round(python, 1),
        "libraries": round(whole - installed - python, 1),
        "whole": whole,
    }


def _libraries(root: Path) -> set[Path]:
    """Return the shared libraries of this system that the files in the root load, under the names that they use."""
    files = [root / PYTHON[1:], *(path for path in root.rglob("*.so*") if path.is_file())]
    found = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    words = {word for line in found.splitlines() if line.startswith("\t") for word in line.split()}
    return {Path(word) for word in words if word.startswith("/") and not word.startswith(str(root))}


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)


def _compile(root: Path) -> None:
    """Do what the Dockerfile does: run as root once, so that Python writes the bytecode of what it imports."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for command in (COMMANDS["verify"], ["-m", "segtool", "predict", "--help"]):
        subprocess.run(["chroot", root, PYTHON, *command], env=environment, check=True, capture_output=True)


def _measured(root: Path, rounds: int) -> dict[str, Any]:
    """Run this script in new namespaces: network, mounts and processes."""
    spaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private"]
    command = [*spaces, sys.executable, __file__, "--inside", str(root), "--rounds", str(rounds)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def _inside(root: Path, rounds: int) -> dict[str, Any]:
    """Mount the root read-only with a writable /out, and measure."""
    at = str(root)
    for mount in (
        ["--bind", at, at],
        ["--options", "remount,ro,bind", at],
        ["--types", "tmpfs", "--options", f"uid={USER}", "tmpfs", f"{at}/out"],
        ["--types", "proc", "proc", f"{at}/proc"],
    ):
        subprocess.run(["mount", *mount], check=True)
    return {
        "conditions": _conditions(root),
        "strace": _traced(root) if strace.works() else None,
        "start_ms": {name: percentiles(times) for name, times in _times(root, rounds).items()},
    }


def _chroot(root: Path, command: Sequence[str]) -> list[str]:
    return ["chroot", f"--userspec={USER}:{USER}", str(root), PYTHON, *command]


def _conditions(root: Path) -> dict[str, Any]:
    """Return the user, the network interfaces, and what a write to the root says."""
    program = (
        "import os, json\n"
        "interfaces = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]\n"
        "try: open('/new', 'w')\n"
        "except OSError as error: refused = error.strerror\n"
        "print(json.dumps({'user': os.getuid(), 'interfaces': interfaces, 'write_to_root': refused}))"
    )
    found = subprocess.run(_chroot(root, ["-c", program]), env=ENVIRONMENT, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def _traced(root: Path) -> dict[str, Any]:
    """Return the places outside this machine that verify and predict address, and the folders that they write to."""
    places: set[str] = set()
    written: set[str] = set()
    for name in ("verify", "predict"):
        with tempfile.TemporaryDirectory() as folder:
            command = strace.call(_chroot(root, COMMANDS[name]), Path(folder))
            subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
            trace = strace.read(Path(folder), Path("/"))
        places.update(strace.not_local(trace))
        written.update(_folders(path for _, path in trace.files))
    return {"other_machines": sorted(places), "written_folders": sorted(written)}


def _folders(paths: Iterator[Path]) -> Iterator[str]:
    for path in paths:
        yield "/out" if "out" in path.parts else str(path)


def _times(root: Path, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of each command, interleaved; the first round fills the disk cache."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(_chroot(root, command), env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
            if turn:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: np.array(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
