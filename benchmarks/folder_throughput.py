"""Throughput and memory of `segtool predict` on a folder of images, against one worker and OpenVINO.

`python benchmarks/folder_throughput.py MODEL [--count 2000] [--rounds 5] [--openvino XML]`. The commands are
interleaved. The time is that of the full process, including decoding the PNGs and writing the label maps. "After the
start" is the time in the manifest, without the start of Python and of the model. OpenVINO runs in its throughput mode
on decoded images and writes nothing. XML is the same network, from the work folder of `export_engines.py`. `--only
memory` measures only the memory, which other load does not disturb, and keeps the other figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from commands import call, update_result, write_result
from engines.openvino_engine import import_openvino
from PIL import Image

import segtool
from segtool.benchmark.statistics import percentiles, ratio_of

DIGITS = 64  # images that differ; more are links to them
COUNTS = (200, 2000, 20000)


def main() -> None:
    """Measure and write results/folder_throughput.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--openvino", type=Path)
    parser.add_argument("--only", choices=["memory"])
    parser.add_argument("--name", default="folder_throughput", help="name of the JSON in results/")
    arguments = parser.parse_args()
    model = arguments.model.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only:
            update_result(arguments.name, {"memory": _memory(model, folder)})
            return
        images = _images(folder / "images", arguments.count, model)
        write_result(
            arguments.name,
            {
                "images": arguments.count,
                "threads_and_workers": _throughput(model, images, folder, arguments),
                "memory": _memory(model, folder),
            },
        )


def _images(folder: Path, count: int, model: Path) -> Path:
    """Write PNGs of random strokes; most are links, so that a large folder takes no time to make."""
    contract, random = segtool.load(model).contract, np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        path = folder / f"{index:05d}.png"
        if index >= DIGITS:
            os.link(folder / f"{index % DIGITS:05d}.png", path)
            continue
        pixels = np.zeros((contract.height, contract.width), np.uint8)
        for _ in range(3):
            y, x = random.integers(0, (contract.height - 20, contract.width - 20))
            pixels[y : y + 20, x : x + 4] = random.integers(1, 256, (20, 4))
        Image.fromarray(pixels).save(path)
    return folder


def _throughput(model: Path, images: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    cases = {"default": (), "one_worker_one_thread": ("--workers", "1", "--threads", "1")}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    after: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(arguments.rounds + 1):
        for name, options in cases.items():
            out = folder / f"out-{name}-{turn}"
            seconds, _ = _predict(model, images, out, options)
            if turn:
                rates[name].append(arguments.count / seconds)
                after[name].append(arguments.count / json.loads((out / "manifest.json").read_bytes())["seconds"])
        if arguments.openvino:
            rate = _openvino(arguments.openvino, images)
            if turn:
                rates.setdefault("openvino_throughput_mode", []).append(rate)
    ended = {"openvino_throughput_mode": rates["openvino_throughput_mode"]} if arguments.openvino else {}
    return {
        "whole_process": _compared(rates),
        "after_the_start": _compared(after | ended),
        "wanted": {"one_worker_one_thread": 1.8, "openvino_throughput_mode": 1.3},
    }


def _compared(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Return images a second, and those of the default over each other way's."""
    ours = np.array(rates["default"])
    others = {name: np.array(values) for name, values in rates.items() if name != "default"}
    return {
        "images_a_second": {name: percentiles(np.array(values)) for name, values in rates.items()},
        "default_over": {name: vars(ratio_of(ours / values)) for name, values in others.items()},
    }


def _predict(model: Path, images: Path, out: Path, options: Sequence[str]) -> tuple[float, float]:
    """Run `segtool predict` in a process of its own; return its seconds and its peak memory in MB."""
    command = [*call("predict", str(images), "--model", str(model), "--out", str(out), "-q"), *options]
    started, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, _peak_mb(process.pid))
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"segtool predict ended with {process.returncode}")
    return time.perf_counter() - started, peak


def _peak_mb(pid: int) -> float:
    """Return the peak memory of a process so far; `wait` would count this one's too."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else 0.0


def _memory(model: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Return the peak memory by the number of images."""
    found = {}
    for count in COUNTS:
        images = _images(folder / f"images-{count}", count, model)
        _, peak = _predict(model, images, folder / f"out-{count}", ())
        found[str(count)] = {"peak_mb": round(peak, 1)}
    return found


def _openvino(path: Path, images: Path) -> float:
    """Return OpenVINO's images a second over the folder, decoded before the clock starts."""
    ov = import_openvino()

    batches = [np.array(Image.open(file))[None, ..., None] for file in sorted(images.iterdir())]
    compiled = ov.Core().compile_model(str(path), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = ov.AsyncInferQueue(compiled)
    for batch in batches[:64]:
        queue.start_async({0: batch})
    queue.wait_all()
    started = time.perf_counter()
    for batch in batches:
        queue.start_async({0: batch})
    queue.wait_all()
    return len(batches) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
