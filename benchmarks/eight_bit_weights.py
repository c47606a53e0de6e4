"""INT8 with weights of 8 bits on a processor without VNNI: results/eight_bit_weights.json.

    python benchmarks/eight_bit_weights.py NAME FP32.onnx X86.onnx VNNI.onnx DATA [NAME ...]

The files are of one network: FP32, INT8 of the presets x86 (weights of 7 bits) and vnni (8 bits). On such a processor
the products of 8-bit weights overflow; the option `EXACT_PRODUCTS`, with which segtool opens each file there, makes
them exact and slower. For each file: labels equal to those of FP32 on IMAGES images of DATA, and the time on one thread
over that of the preset x86, interleaved, from a raw image to labels. The last row opens the file of 8 bits without the
option, as other programs do.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import write_result

import segtool
from segtool.benchmark.latency import compare_interleaved
from segtool.data.loading import load_dataset
from segtool.machine.machine import VNNI, instruction_sets
from segtool.runtime import session_options

IMAGES, ROUNDS = 100, 60


def main(arguments: list[str]) -> None:
    """Measure each network and write."""
    if len(arguments) % 5 or not arguments:
        sys.exit(__doc__)
    if VNNI.intersection(instruction_sets()):
        sys.exit("This processor has VNNI, so products of 8-bit weights are exact on it; run this on one without.")
    networks = [measured(*arguments[start : start + 5]) for start in range(0, len(arguments), 5)]
    write_result("eight_bit_weights", {"images": IMAGES, "rounds": ROUNDS, "threads": 1, "networks": networks})


def measured(name: str, float32: str, x86: str, vnni: str, spec: str) -> dict[str, Any]:
    """Return the rows of the files of one network."""
    data = load_dataset(spec)
    images = [data.image(index) for index in np.linspace(0, len(data) - 1, IMAGES).astype(int).tolist()]
    ways = {"float32": opened(float32), "x86": opened(x86), "vnni": opened(vnni), "vnni, not exact": inexact(vnni)}
    labels = {way: [model(image) for image in images] for way, model in ways.items()}
    rows: dict[str, dict[str, Any]] = {
        way: {"labels_of_float32": agreement(found, labels["float32"])} for way, found in labels.items()
    }
    calls = {way: partial(model, images[0]) for way, model in ways.items()}
    for way, call in calls.items():
        if way != "x86":
            ratio = compare_interleaved(call, calls["x86"], rounds=ROUNDS)
            rows[way]["time_over_x86"] = {"median": ratio.median, "low": ratio.low, "high": ratio.high}
    print(name, rows, flush=True)
    return {"network": name, "image": list(images[0].shape), "files": rows}


def opened(path: str) -> Any:
    """Return the model of a file on one thread."""
    return segtool.load(Path(path), provider="cpu", threads=1)


def inexact(path: str) -> Any:
    """Return the model of a file, opened as onnxruntime does by default."""
    key, exact = session_options.EXACT_PRODUCTS
    session_options.EXACT_PRODUCTS = (key, "0")
    try:
        return opened(path)
    finally:
        session_options.EXACT_PRODUCTS = (key, exact)


def agreement(found: list[Any], expected: list[Any]) -> float:
    """Return the fraction of equal labels."""
    return float(np.mean([np.mean(a == b) for a, b in zip(found, expected, strict=True)]))


if __name__ == "__main__":
    main(sys.argv[1:])
