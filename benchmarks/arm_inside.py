"""What `arm.py` runs on an emulated processor: `python arm_inside.py FILE.json` with a list of jobs.

A job has a `what`, a `model`, and `out`, the file for its result; a job whose result is there is skipped. `commands`
takes `images` and `labels`, folders, and needs the base install alone, as `verify` does. `kernels` needs the package
onnx. One process runs many jobs, because starting Python takes longer in the emulator than a small file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from segtool.benchmark.layers import measure_layers
from segtool.cli import main
from segtool.machine.machine import machine_info
from segtool.runtime import sandbox

FACTS = ("cpu", "architecture", "instruction_sets")


def commands(job: dict[str, str]) -> dict[str, Any]:
    """Run verify, predict and info on a file, and count its work by kernel."""
    model = job["model"]
    named = ("--model", model, "--out", job["labels"], "--workers", "1", "--overwrite")
    verified = verify(job)
    _, predicted = segtool("predict", job["images"], *named)
    _, described = segtool("info", model)
    machine = machine_info()
    return {
        "machine": {name: machine[name] for name in FACTS},
        "verify": verified,
        "predict": {"exit_code": predicted},
        "info": {"exit_code": described},
        "macs": _macs(Path(model)) if Path(model).stem.endswith(".int8") else {},
    }


def verify(job: dict[str, str]) -> dict[str, Any]:
    """Run verify; return its exit code and what it counted."""
    found, code = segtool("verify", job["model"])
    return {"exit_code": code, **{name: found[name] for name in ("pixels", "mismatching_pixels") if name in found}}


def kernels(job: dict[str, str]) -> dict[str, int]:
    """Return the number of INT8 convolutions, and of those whose kernel is the predicted one."""
    import kernel_classes

    kernel_classes.RUNS = kernel_classes.WARMUP = 1
    with contextlib.redirect_stdout(io.StringIO()):
        layers = kernel_classes.network(Path(job["model"]).stem, job["model"])["layers"]
    return {"convolutions": len(layers), "as_predicted": sum(row["agrees"] for row in layers)}


def segtool(*arguments: str) -> tuple[dict[str, Any], int]:
    """Run `segtool ARGUMENTS --json` in this process; return what it printed, and its exit code."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            main([*arguments, "--json"], prog_name="segtool")
        except SystemExit as ended:
            code = int(ended.code or 0)
    text = printed.getvalue()
    return (json.loads(text) if text else {}), code


def _macs(path: Path) -> dict[str, int]:
    """Return the multiply-accumulates of each kernel and instruction."""
    work: Counter[str] = Counter()
    for layer in measure_layers(path, runs=1).layers:
        if layer.kernel is not None:
            work[" ".join(filter(None, (layer.kernel, layer.instruction)))] += layer.macs
    return dict(work)


def _run(jobs: list[dict[str, str]]) -> None:
    os.environ.pop("QEMU_LOG", None)  # for this process alone
    # verify's child process has a limit of two minutes, which an emulated one may exceed on a busy machine.
    sandbox.try_in_sandbox = lambda *_, **__: None
    functions = {"commands": commands, "verify": verify, "kernels": kernels}
    for job in jobs:
        if not Path(job["out"]).is_file():
            Path(job["out"]).write_text(json.dumps(functions[job["what"]](job)), encoding="utf-8")


if __name__ == "__main__":
    _run(json.loads(Path(sys.argv[1]).read_bytes()))
