"""Time and peak memory of `segtool report` on one run, with two checkouts interleaved: results/report_time.json.

`python benchmarks/report_time.py RUN BEFORE [AFTER]`: RUN is a run folder with exported files. BEFORE and AFTER are
folders with the package, such as the src of a checkout of an earlier commit. The default of AFTER is the src of this
checkout. Latency is not measured (--no-latency), because its time is that of `segtool benchmark`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from segtool.files import write_json
from segtool.machine.machine import machine_info

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "report_time.json"
WARMUP, RUNS = 1, 7
CASES = {
    "validation images of the run": [],
    "2,000 images": ["--data", "m2nist-synthetic:2000", "--split", "all"],
}


def main() -> None:
    """Run both in turn and write the figures."""
    run, before, *after = (Path(argument).resolve() for argument in sys.argv[1:])
    sources = {"before": before, "after": after[0] if after else ROOT / "src"}
    cases = {name: compare(sources, run, options) for name, options in CASES.items()}
    command = "segtool report RUN --no-latency, FP32 and INT8 of `segtool train --epochs 2 --data m2nist-synthetic:400`"
    write_json(RESULT, {"command": command, "runs": RUNS, "warmup": WARMUP, "cases": cases, "machine": machine_info()})


def compare(sources: dict[str, Path], run: Path, options: list[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of both with the same options, measured in turn."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    for turn in range(WARMUP + RUNS):
        for name, source in sources.items():
            measured = report_once(source, [str(run), "--no-latency", *options])
            if turn >= WARMUP:
                found[name].append(measured)
                print(*options, name, measured, flush=True)
    return {name: {key: summary([row[key] for row in rows]) for key in rows[0]} for name, rows in found.items()}


def report_once(source: Path, arguments: list[str]) -> dict[str, float]:
    """Return seconds, seconds of the processor and MB at the peak of one report in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        code = "import segtool.__main__ as m; m.run()"
        command = [sys.executable, "-c", code, "report", *arguments, "--out", str(Path(folder, "page.html"))]
        environment = {**os.environ, "PYTHONPATH": str(source), "ORT_DISABLE_TELEMETRY": "1"}
        start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            sys.exit(f"The report of {source} failed.")
        seconds = time.perf_counter() - start
        total = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = total.ru_utime + total.ru_stime - used.ru_utime - used.ru_stime
        return {"seconds": seconds, "processor_seconds": processor, "peak_mb": usage.ru_maxrss / 1e3}


def summary(values: list[float]) -> dict[str, float]:
    """Return the quartiles and the range of some values."""
    names = ("min", "p25", "p50", "p75", "max")
    return dict(zip(names, np.percentile(values, (0, 25, 50, 75, 100)).round(3).tolist(), strict=True))


if __name__ == "__main__":
    main()
