"""The effect of `export --prune` on size, time and accuracy: results/pruning.json.

`python benchmarks/pruning.py RUN --data DATA [--percent 0.05,0.1,0.2]` exports a trained run in INT8 without and with
pruning. Each file is scored on the test images of the run's split. Training, the choice of channels, calibration and
the gates do not use these images. The INT8 files are timed interleaved, one image, one thread.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import segtool_json, write_result

import segtool
from segtool.benchmark.latency import compare_interleaved
from segtool.data.loading import load_dataset
from segtool.models.resolve import find_model

RUNS_A_TURN, ROUNDS = 5, 100


def main() -> None:
    """Export, score, time, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--percent", default="0.05,0.1,0.2", help="labels that pruning may change, with commas between")
    arguments = parser.parse_args()
    run, data = arguments.run.resolve(), str(arguments.data.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [_exported(run, data, folder, percent) for percent in (None, *arguments.percent.split(","))]
        _time(rows, folder, data)
    info = find_model(run, kind="keras").run.info  # type: ignore[union-attr]  # a run folder was asked for
    network = {key: info[key] for key in ("arch", "recipe", "epochs", "parameters", "seed")}
    write_result("pruning", {"data": arguments.data.name, "network": network, "files": rows})


def _exported(run: Path, data: str, folder: Path, percent: str | None) -> dict[str, Any]:
    """Export with one limit; return what was taken, and how the files compare on test images."""
    stem = f"pruned-{percent}" if percent else "whole"
    limit = ("--prune", percent) if percent else ()
    files = folder / f"{stem}.onnx", folder / f"{stem}.int8.onnx"
    options = ("--quantize", "--data", data, "--out", str(files[0]), *limit)
    made = segtool_json("export", str(run), *options, cwd=folder)
    found = segtool_json("evaluate", *map(str, files), "--data", data, "--split", "test", cwd=folder)
    float32, int8 = found["models"]
    pruned = made["quantization"].get("pruned")
    return {
        "percent": None if percent is None else float(percent),
        "file": files[1].name,
        "size_bytes": files[1].stat().st_size,
        "pruned": pruned,
        "val": {"drop_points": made["gates"]["accuracy"]["drop_points"]},
        "test": {
            "images": int8["images"],
            "foreground_mean_iou": int8["foreground_mean_iou"],
            "drop_points": 100 * (float32["foreground_mean_iou"] - int8["foreground_mean_iou"]),
            "label_agreement": found["comparisons"][0]["label_agreement"],
        },
    }


def _time(rows: list[dict[str, Any]], folder: Path, data: str) -> None:
    """Add to each row the time of its INT8 file over that of the whole one."""
    image = np.asarray(load_dataset(data).image(0))
    whole, *others = (segtool.load(folder / row["file"], provider="cpu", threads=1) for row in rows)
    for row, other in zip(rows[1:], others, strict=True):
        ratio = compare_interleaved(partial(_several, other, image), partial(_several, whole, image), rounds=ROUNDS)
        row["time_over_whole"] = {"median": ratio.median, "low": ratio.low, "high": ratio.high}


def _several(segmenter: segtool.Segmenter, image: np.ndarray) -> None:
    for _ in range(RUNS_A_TURN):
        segmenter(image)


if __name__ == "__main__":
    main()
