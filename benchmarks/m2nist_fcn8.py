"""FCN-8 on real M2NIST, from training to INT8: results/m2nist_fcn8.json and results/m2nist_fcn8_history.csv.

Training, the choice of the epoch, calibration and the gates do not use the test images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from commands import RESULTS, history, segtool, segtool_json, write_result

TRAIN = ("train", "--arch", "fcn8", "--recipe", "fast", "--epochs", "50", "--val-split", "0.1", "--test-split", "0.1")
MODELS = {"keras": "model.keras", "float32": "model.onnx", "int8": "model.int8.onnx"}
# What a reader of the test figures must know of how the method came about.
TEST_NOTE = (
    "No recipe and no epoch was chosen on the test images. The INT8 method (equalization, bias correction, min-max "
    "ranges) was: it was compared by label agreement on images of the whole file, test images among them, so the INT8 "
    "test figures are no proof on unseen images."
)
FIGURES = ("pixel_accuracy", "mean_iou", "mean_dice", "foreground_mean_iou", "foreground_mean_dice", "images")


def main() -> None:
    """Train unless a finished run is given, export, and score every file on both held-out parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, help="a finished run of the training command")
    parser.add_argument("--note", default="", help="what a reader should know of that run")
    arguments = parser.parse_args()
    data = str(arguments.data.resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = arguments.run.resolve() if arguments.run else folder / "run"
        if not arguments.run:
            segtool(*TRAIN, "--data", data, "--out", str(run), cwd=folder)
        if not (run / "model.int8.onnx").exists():
            segtool("export", str(run), "--quantize", "--data", data, cwd=folder)
        write_result("m2nist_fcn8", {"note": arguments.note, **_measure(run, data, folder)})
    shutil.copy(run / "history.csv", RESULTS / "m2nist_fcn8_history.csv")


def _measure(run: Path, data: str, folder: Path) -> dict[str, Any]:
    info = json.loads((run / "run.json").read_text())
    seconds = [float(row["seconds"]) for row in history(run)]
    scores = {
        part: {
            name: segtool_json("evaluate", str(run / file), "--data", data, "--split", part, cwd=folder)
            for name, file in MODELS.items()
        }
        for part in ("val", "test")
    }
    gates = segtool_json("info", str(run / "model.int8.onnx"), cwd=folder)["gates"]
    return {
        "commands": [" ".join(["segtool", *TRAIN, "--data", Path(data).name]), "segtool export --quantize"],
        "run": {key: info[key] for key in ("arch", "recipe", "recipe_values", "seed", "parameters", "versions")},
        "precision": info["precision"],
        "data": {**info["data"], "spec": Path(data).name},
        "epochs": len(seconds),
        "training_seconds": round(sum(seconds)),
        "seconds_per_epoch": {"median": statistics.median_high(seconds)},
        "best_epoch": json.loads((run / "metrics.json").read_text())["best_epoch"],
        "scores": {
            part: {name: {key: score[key] for key in FIGURES} for name, score in of_part.items()}
            for part, of_part in scores.items()
        },
        "test_note": TEST_NOTE,
        "test_classes_int8": scores["test"]["int8"]["classes"],
        "convention": scores["test"]["int8"]["convention"],
        "size_bytes": {name: (run / file).stat().st_size for name, file in MODELS.items()},
        "gates": gates,
    }


if __name__ == "__main__":
    main()
