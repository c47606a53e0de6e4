"""Training on the JAX backend and inference by CUDA, on a machine with an NVIDIA GPU, in at most 8 minutes.

`python benchmarks/gpu.py [--epochs 4] [--out FILE]` trains fcn8 and fcn8-lite by `segtool train` with KERAS_BACKEND=jax
(`pip install "jax[cuda12]"`), and runs model files with the CUDA provider of onnxruntime
(`pip install onnxruntime-gpu`): whether it starts, labels against the CPU, latency. What is not installed is reported
with its reason. It writes results/gpu.json.

Exit codes: 0 measured; 1 a training or an export failed, a loss did not fall, or labels differ; 77 there is no GPU.
`--allow-cpu` takes the same steps on the CPU, with few images, and prints the result instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import call, history, write_result

import segtool
from segtool.benchmark.statistics import percentiles
from segtool.doctor.provider_probe import probe_providers
from segtool.errors import SegtoolError
from segtool.machine.machine import package_versions
from segtool.models.shipped import SHIPPED
from segtool.runtime.verify import required_agreement

ROOT = Path(__file__).resolve().parents[1]
NO_GPU = 77
# JAX spends most of a short run on a CPU compiling; without these passes the steps are slower, not different.
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

sys.path.insert(0, str(ROOT / "tests"))
from road_scenes import write_scenes  # noqa: E402 - data of the tests


@dataclass(frozen=True)
class Work:
    """Where to work, on what, and until when (`time.monotonic`)."""

    folder: Path
    device: str
    provider: str
    epochs: int
    few: bool
    seconds: float
    deadline: float

    def run(self, *arguments: str, backend: str) -> tuple[int, str, str]:
        """Run `segtool ARGUMENTS` until the deadline; return its exit code, and both its outputs."""
        environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if self.few:
            environment["XLA_FLAGS"] = FAST_COMPILATION
        left = self.deadline - time.monotonic()
        print("$ segtool", *arguments, flush=True)
        try:
            done = subprocess.run(
                call(*arguments), env=environment, cwd=self.folder, capture_output=True, text=True, check=False,
                timeout=max(left, 1),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return 1, "", f"not finished within the {self.seconds:.0f} s of all steps"
        return done.returncode, done.stdout, done.stderr


def main() -> None:
    """Train, run, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=460, help="the longest time of all steps")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    parser.add_argument("--allow-cpu", action="store_true")
    arguments = parser.parse_args()
    gpu = gpu_name()
    if gpu is None and not arguments.allow_cpu:
        print("nvidia-smi finds no GPU here, so nothing was measured; --allow-cpu takes the same steps on the CPU.")
        sys.exit(NO_GPU)
    with tempfile.TemporaryDirectory() as folder:
        on_cpu = arguments.allow_cpu
        work = Work(
            Path(folder), "cpu" if on_cpu else "gpu", "cpu" if on_cpu else "cuda", arguments.epochs, on_cpu,
            arguments.seconds, time.monotonic() + arguments.seconds,
        )  # fmt: skip
        trainings = [train(work, arch, data(work, arch)) for arch in ("fcn8", "fcn8-lite")]
        inference = infer(work, exported(work, trainings))
    result = {"gpu": gpu, "training": trainings, "inference": inference}
    result["versions"] = package_versions(("segtool", "keras", "jax", "jaxlib", "onnxruntime-gpu", "onnxruntime"))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(json.dumps(result, indent=1))
    if not on_cpu:
        write_result("gpu", result)
    sys.exit(0 if passed(result) else 1)


def gpu_name() -> str | None:
    """Return the name of the first NVIDIA GPU, None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    found = subprocess.run(
        [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return found.stdout.splitlines()[0].strip() if found.returncode == 0 and found.stdout.strip() else None


def passed(result: dict[str, Any]) -> bool:
    """Return whether all trainings ran, learned and were exported, and no file gave other labels than on the CPU."""
    learned = all(row.get("loss_falls") and "export_error" not in row for row in result["training"])
    return learned and all(row.get("passed", True) for row in result["inference"]["files"])


def data(work: Work, arch: str) -> str:
    """Return the data of an architecture: generated digits, or generated road scenes."""
    if arch == "fcn8":
        return f"m2nist-synthetic:{40 if work.few else 4000}"
    counts, size = ((8, 2, 0), (64, 64)) if work.few else ((160, 20, 0), (192, 256))
    write_scenes(work.folder / "scenes", counts=counts, size=size)
    return "scenes"


def train(work: Work, arch: str, spec: str) -> dict[str, Any]:
    """Train on JAX; return the time and loss of each epoch, or the reason why not."""
    options = ["--epochs", str(work.epochs), "--device", work.device, "--out", arch]
    options += ["--batch-size", "4"] if work.few else []
    code, _, errors = work.run("train", "--data", spec, "--arch", arch, *options, backend="jax")
    if code:
        return {"arch": arch, "error": last_line(errors)}
    rows = history(work.folder / arch)
    losses, seconds = ([float(row[name]) for row in rows] for name in ("loss", "seconds"))
    run = json.loads((work.folder / arch / "run.json").read_bytes())
    return {
        "arch": arch,
        "data": spec,
        "device": run["device"]["description"],
        "precision": run["precision"]["name"],
        "batch_size": run["batch_size"],
        "loss": losses,
        "seconds": seconds,
        "epochs_per_second": 1 / min(seconds[1:] or seconds),  # the first epoch compiles
        "loss_falls": losses[-1] < losses[0],
    }


def exported(work: Work, trainings: Sequence[dict[str, Any]]) -> list[Path]:
    """Return the FP32 files of the trainings, and the INT8 file that ships; Keras exports on TensorFlow."""
    files = [SHIPPED]
    for row in trainings:
        if "error" in row:
            continue
        code, _, errors = work.run("export", row["arch"], "--winograd", "off", backend="tensorflow")
        if code:
            row["export_error"] = last_line(errors)
        else:
            files.append(work.folder / row["arch"] / "model.onnx")
    return files


def infer(work: Work, files: Sequence[Path]) -> dict[str, Any]:
    """Run the files on the provider and on the CPU; return whether it starts, labels and latency."""
    refusals = probe_providers()
    name = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[work.provider]
    reason = refusals.get(name, f"this onnxruntime has no {name}; pip install onnxruntime-gpu")
    if reason is not None:
        return {"provider": name, "refused": reason, "files": []}
    return {"provider": name, "refused": None, "files": [compared(work, path) for path in files]}


def compared(work: Work, path: Path) -> dict[str, Any]:
    """Return how many labels of the golden images differ from the CPU's, and the latency of both."""
    name = "shipped" if path == SHIPPED else path.parent.name
    try:
        first, second = (segtool.load(path, provider=provider) for provider in (work.provider, "cpu"))
    except SegtoolError as error:
        return {"file": name, "refused": str(error)}
    images = np.concatenate([first.golden().images] * 4)
    agreement = float((first.predict_batch(images) == second.predict_batch(images)).mean())
    one = images[:1]
    return {
        "file": name,
        "precision": first.contract.precision,
        "nodes": first.provider_report["provider_nodes"],
        "agreement": agreement,
        "passed": agreement >= required_agreement(first.contract),
        "latency_ms": {
            work.provider: latency(first, one, work.few),
            "cpu": latency(second, one, work.few),
            f"batch_of_{len(images)}": latency(first, images, work.few),
        },
    }


def latency(segmenter: segtool.Segmenter, images: np.ndarray, few: bool) -> dict[str, float | None]:
    """Return percentiles of the milliseconds of a batch, from pixels to labels."""
    times = []
    for _ in range(5 if few else 200):
        started = time.perf_counter()
        segmenter.predict_batch(images)
        times.append((time.perf_counter() - started) * 1e3)
    return percentiles(np.array(times))


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


if __name__ == "__main__":
    main()
