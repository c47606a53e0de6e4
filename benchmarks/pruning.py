"""The effect of `export --prune` on size, time and accuracy: results/pruning.json.

`python benchmarks/pruning.py NETWORK --data DATA [--percent 0.05,0.1,0.2]` exports a trained run in INT8 without and
with pruning. Each file is scored on the test images of the run's split. Training, the choice of channels, calibration
and the gates do not use these images. The INT8 files are timed interleaved, one image, one thread.

NETWORK may be an ONNX file, with `--input-scale` as for `segtool export`. Its files are scored on the validation images
of the export's split, on which the gates decide, and which whoever trained it may have used.
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
    parser.add_argument("network", type=Path, help="a run, or an ONNX file")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--percent", default="0.05,0.1,0.2", help="labels that pruning may change, with commas between")
    parser.add_argument("--input-scale", help="pixel scaling of an ONNX file, as for `segtool export`")
    parser.add_argument("--name", default="pruning", help="name of the JSON in results/")
    arguments = parser.parse_args()
    source, data = arguments.network.resolve(), str(arguments.data.resolve())
    scale = () if arguments.input_scale is None else ("--input-scale", arguments.input_scale)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        limits = [(), *(("--prune", percent) for percent in arguments.percent.split(","))]
        rows = [_exported(source, data, folder, (*scale, *limit)) for limit in limits]
        _time(rows, folder, data)
    write_result(arguments.name, {"data": arguments.data.name, "network": _described(source), "files": rows})


def _described(source: Path) -> dict[str, Any]:
    """Return what network it is."""
    if source.is_file():
        return {"arch": source.stem}
    info = find_model(source, kind="keras").run.info  # type: ignore[union-attr]  # a run folder was asked for
    return {key: info[key] for key in ("arch", "recipe", "epochs", "parameters", "seed")}


def _exported(source: Path, data: str, folder: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """Export with one limit; return what was taken, and how the files compare on test images."""
    percent = options[-1] if "--prune" in options else None
    stem = f"pruned-{percent}" if percent else "whole"
    files = folder / f"{stem}.onnx", folder / f"{stem}.int8.onnx"
    made = segtool_json(
        "export", str(source), "--quantize", "--data", data, "--out", str(files[0]), *options, cwd=folder
    )
    part = "val" if source.is_file() else "test"
    found = segtool_json("evaluate", *map(str, files), "--data", data, "--split", part, cwd=folder)
    float32, int8 = found["models"]
    pruned = made["quantization"].get("pruned")
    return {
        "percent": None if percent is None else float(percent),
        "file": files[1].name,
        "size_bytes": files[1].stat().st_size,
        "pruned": pruned,
        "gate": {"drop_points": made["gates"]["accuracy"]["drop_points"]},
        part: {
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
