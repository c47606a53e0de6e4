"""Latency and memory against image size: results/scaling.json, from which `figures.py` draws docs/scaling.svg.

`python benchmarks/scaling.py RUN...` takes finished runs of `segtool train` and measures, one thread, FP32 and INT8
if available:

- whole: the run exported at that size (`segtool export RUN --size SxS`, up to 2,097,152 pixels) and run on one image;
- tiled: the file of the run at its training size, on overlapping tiles, up to 2048 x 2048.

Latency is that of `Segmenter(image)`, with all files interleaved. Memory is the peak of a fresh process that opens the
file and predicts one image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from commands import numbers, write_result
from commands import segtool as run_segtool

import segtool
from segtool.benchmark.statistics import median_interval, percentiles
from segtool.models.resolve import find_model

WORK = Path(__file__).resolve().parents[1] / "build" / "scaling"
GATE_IMAGES = "m2nist-synthetic:60"
WHOLE, TILED = (128, 256, 512, 1024), (256, 512, 1024, 2048)
SECONDS_A_CASE, MOST_RUNS, LEAST_RUNS = 1.5, 200, 5

# Run by a fresh process: open, predict one image, say the peak of resident memory in bytes.
_MEMORY = """
import json, sys
import numpy
import segtool
path, side, tile = json.loads(sys.argv[1])
segmenter = segtool.load(path, provider="cpu", threads=1)
image = numpy.random.default_rng(0).integers(0, 256, (side, side, segmenter.contract.channels), numpy.uint8)
segmenter(image, tile=tuple(tile) if tile else "never")
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Case:
    """A file, the side of the image in pixels that it is given, and the tiles that this is cut into."""

    arch: str
    precision: str
    path: Path
    side: int
    tile: tuple[int, int] | None

    def describe(self) -> dict[str, Any]:
        """Return what the JSON says of it."""
        how = "tiled" if self.tile else "whole"
        return {"arch": self.arch, "precision": self.precision, "side": self.side, "how": how, "tile": self.tile}


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders with model.keras and model.onnx")
    parser.add_argument("--work", type=Path, default=WORK, help="folder that keeps the exports")
    parser.add_argument("--sides", type=numbers, default=WHOLE, help="sides of whole images")
    parser.add_argument("--tiled-sides", type=numbers, default=TILED, help="sides of images cut into tiles")
    arguments = parser.parse_args()
    cases = [
        case for run in arguments.runs for case in _cases(run, arguments.work, arguments.sides, arguments.tiled_sides)
    ]
    times = _latencies(cases)
    rows = [{**case.describe(), **_summary(times[case]), "peak_rss_mb": _peak_mb(case)} for case in cases]
    method = "whole: exported at that size with `segtool export --size`; tiled: the file of the training's size"
    write_result("scaling", {"method": method, "threads": 1, "rows": rows})


def _cases(run: Path, work: Path, sides: tuple[int, ...], tiled: tuple[int, ...]) -> Iterator[Case]:
    arch = find_model(run, kind="keras").run
    name = str(arch.info["arch"]) if arch else run.name
    for side in sides:
        yield Case(name, "float32", _exported(run, name, side, work), side, None)
    for precision, file in (("float32", "model.onnx"), ("int8", "model.int8.onnx")):
        path = run.resolve() / file
        if path.is_file():
            for side in tiled:
                yield Case(name, precision, path, side, segtool.load(path, provider="cpu").input_size)


def _exported(run: Path, name: str, side: int, work: Path) -> Path:
    """Return the run exported at a size, made where it is not there yet."""
    path = work.resolve() / f"{name}.{side}x{side}.onnx"
    if not path.is_file():
        work.mkdir(parents=True, exist_ok=True)
        # Only speed is measured, so that a few generated images will do for the gates.
        options = ("--size", f"{side}x{side}", "--data", GATE_IMAGES, "--out", str(path))
        step = run_segtool("export", str(run.resolve()), *options, cwd=work)
        if step["exit_code"]:
            sys.exit("segtool export failed; its message is above.")
    return path


def _latencies(cases: list[Case]) -> dict[Case, list[float]]:
    """Return the seconds of each run; the small ones take turns of several runs, so that each case has its time."""
    times: dict[Case, list[float]] = {case: [] for case in cases}
    for group in _by_size(cases):
        opened = {case: segtool.load(case.path, provider="cpu", threads=1) for case in group}
        images = {case: _image(case, segmenter) for case, segmenter in opened.items()}
        for case, segmenter in opened.items():
            _timed(segmenter, images[case], case)
        ends = time.perf_counter() + SECONDS_A_CASE * len(group)
        while _fewest(times, group) < LEAST_RUNS or (time.perf_counter() < ends and _fewest(times, group) < MOST_RUNS):
            for case, segmenter in opened.items():
                times[case].append(_timed(segmenter, images[case], case))
        print(f"{group[0].side} pixels: {_fewest(times, group)} runs each", file=sys.stderr, flush=True)
    return times


def _by_size(cases: list[Case]) -> list[list[Case]]:
    return [[case for case in cases if case.side == side] for side in sorted({case.side for case in cases})]


def _fewest(times: dict[Case, list[float]], group: list[Case]) -> int:
    return min(len(times[case]) for case in group)


def _image(case: Case, segmenter: segtool.Segmenter) -> np.ndarray:
    shape = (case.side, case.side, segmenter.contract.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _timed(segmenter: segtool.Segmenter, image: np.ndarray, case: Case) -> float:
    started = time.perf_counter()
    segmenter(image, tile=case.tile or "never")
    return time.perf_counter() - started


def _summary(seconds: list[float]) -> dict[str, Any]:
    values = np.array(seconds) * 1e3
    low, high = median_interval(values)
    return {"n": len(values), "latency_ms": {**percentiles(values), "p50_low": low, "p50_high": high}}


def _peak_mb(case: Case) -> float:
    call = [sys.executable, "-c", _MEMORY, json.dumps([str(case.path), case.side, case.tile])]
    found = subprocess.run(call, check=True, capture_output=True, text=True)
    return round(int(found.stdout) / 1e6, 1)


if __name__ == "__main__":
    main()
