"""fcn8-edge on real M2NIST beside fcn8: accuracy over seeds, INT8 latency, time to the source's figures.

`python benchmarks/m2nist_edge.py DATA RUN... --fcn8 RUN` scores finished runs of the training command below, one per
seed, each exported with --quantize. Training, the choice of the epoch, calibration and the gates do not use the test
images. Architecture and recipe were chosen on the validation images of seed 0's split.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import history, segtool_json, write_result

import segtool
from segtool.benchmark.latency import compare_interleaved
from segtool.data.loading import load_dataset

TRAIN = "segtool train --data DATA --arch fcn8-edge --val-split 0.1 --test-split 0.1 --seed SEED"
FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
RUNS_A_TURN = 5  # one run after another model would find that one's weights in the cache
FIGURES = ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
# Section 10 of the design: the source's own run.
SOURCE = {"val_pixel_accuracy": 0.9914, "val_foreground_mean_iou": 0.8476, "val_foreground_mean_dice": 0.9173}
WANTED = {"pixel_accuracy": 0.9985, "foreground_mean_iou": 0.96, "foreground_mean_dice": 0.98}


def main() -> None:
    """Score, time, and write results/m2nist_edge.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--fcn8", type=Path, required=True, help="an exported run of fcn8")
    parser.add_argument("--note", default="", help="what a reader should know of the runs")
    arguments = parser.parse_args()
    data = str(arguments.data.resolve())
    runs = [_run(run.resolve(), data) for run in arguments.runs]
    spread = {name: _spread([run["test"][name] for run in runs]) for name in FILES}
    write_result(
        "m2nist_edge",
        {
            "commands": [TRAIN, "segtool export RUN --quantize"],
            "note": arguments.note,
            "runs": runs,
            "test_over_seeds": spread,
            "wanted": WANTED,
            "met": {name: all(spread[name][key]["mean"] >= WANTED[key] for key in FIGURES) for name in FILES},
            "latency": _latency(arguments.runs[0] / FILES["int8"], arguments.fcn8 / FILES["int8"], data),
        },
    )


def _run(run: Path, data: str) -> dict[str, Any]:
    info = json.loads((run / "run.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        scores = {
            part: {
                name: segtool_json("evaluate", str(run / file), "--data", data, "--split", part, cwd=Path(folder))
                for name, file in FILES.items()
            }
            for part in ("val", "test")
        }
    rows = history(run)
    return {
        **{key: info[key] for key in ("arch", "recipe", "recipe_values", "seed", "parameters", "versions")},
        "precision": info["precision"],
        "splits": info["data"]["splits"],
        "epochs": len(rows),
        "training_seconds": round(sum(float(row["seconds"]) for row in rows)),
        "beats_the_source": _beats(rows),
        **{part: {name: _figures(score) for name, score in found.items()} for part, found in scores.items()},
        "convention": scores["test"]["int8"]["convention"],
        "size_bytes": {name: (run / file).stat().st_size for name, file in FILES.items()},
    }


def _figures(score: dict[str, Any]) -> dict[str, float]:
    return {key: score[key] for key in FIGURES}


def _beats(rows: list[dict[str, str]]) -> dict[str, float] | None:
    """Return the first epoch that is better than the source in all three figures, and the seconds up to its end."""
    seconds = 0.0
    for row in rows:
        seconds += float(row["seconds"])
        if all(float(row[key]) > value for key, value in SOURCE.items()):
            return {"epoch": int(row["epoch"]), "seconds": round(seconds, 1)}
    return None


def _spread(scores: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        key: {
            "mean": statistics.fmean(score[key] for score in scores),
            "least": min(score[key] for score in scores),
            "most": max(score[key] for score in scores),
        }
        for key in FIGURES
    }


def _latency(edge: Path, fcn8: Path, data: str) -> dict[str, Any]:
    """Time both INT8 files on one image, one thread each, interleaved."""
    dataset = load_dataset(data)
    image = np.asarray(dataset.image(0))
    ours, theirs = (segtool.load(path, provider="cpu", threads=1) for path in (edge, fcn8))
    turns = [partial(_several, segmenter, image) for segmenter in (ours, theirs)]
    ratio = compare_interleaved(*turns, rounds=200)
    return {
        "threads": 1,
        "runs_a_turn": RUNS_A_TURN,
        "edge_over_fcn8": {"median": ratio.median, "low": ratio.low, "high": ratio.high},
        "limit": 0.30,
        "met": ratio.high < 0.30,
    }


def _several(segmenter: segtool.Segmenter, image: np.ndarray) -> None:
    for _ in range(RUNS_A_TURN):
        segmenter(image)


if __name__ == "__main__":
    main()
