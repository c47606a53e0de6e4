"""What re-estimated statistics of normalizations give, for few and many images: results/normalization.json.

`python benchmarks/normalization.py CAMVID M2NIST` trains fcn8-edge with the recipe `standard` for 5 epochs on 40 and
367 photographs of CamVid at 180 x 240, and on 3,200 images of M2NIST. Each epoch is scored twice on the validation
images: with the moving averages of the training, and with the statistics that `segtool train` estimates anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from commands import history, write_result

EPOCHS = 5
PHOTOGRAPHS = ("--size", "180x240")


def main() -> None:
    """Train on each data set and write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("camvid", type=Path, help="a folder with train/ and val/")
    parser.add_argument("m2nist", type=Path, help="4,000 images, of which 3,200 are trained on")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        few = _first_images(arguments.camvid.resolve(), work / "few", 40)
        rows = [
            _measure(few, work / "run40", *PHOTOGRAPHS),
            _measure(arguments.camvid, work / "run367", *PHOTOGRAPHS),
            _measure(arguments.m2nist, work / "run3200"),
        ]
    write_result("normalization", {"epochs": EPOCHS, "arch": "fcn8-edge", "recipe": "standard", "data": rows})


def _first_images(data: Path, target: Path, count: int) -> Path:
    """Make a folder with the first training images of a data set and all its validation images, copied."""
    for part, most in (("train", count), ("val", None)):
        for kind in ("images", "masks"):
            (target / part / kind).mkdir(parents=True)
            for file in sorted((data / part / kind).iterdir())[:most]:
                shutil.copyfile(file, target / part / kind / file.name)
    (target / "dataset.json").write_bytes((data / "dataset.json").read_bytes())
    return target


def _measure(data: Path, run: Path, *options: str) -> dict[str, Any]:
    """Train, and return the scores of each epoch with lagging and with re-estimated statistics."""
    from segtool.cli import main as segtool
    from segtool.train import epoch_end

    lagging: list[dict[str, float]] = []
    at_end = epoch_end.EpochEnd.on_epoch_end

    def scored_twice(callback: Any, epoch: int, logs: Any = None) -> None:
        scores, loss = callback._validation.score(callback._scored())
        lagging.append({"mean_iou": scores.foreground_mean_iou, "loss": loss})
        statistics = callback.model.non_trainable_variables
        kept = [np.array(item.numpy()) for item in statistics]
        at_end(callback, epoch, logs)
        for item, value in zip(statistics, kept, strict=True):
            item.assign(value)  # so that the moving averages go on as if nothing had been estimated

    with patch.object(epoch_end.EpochEnd, "on_epoch_end", scored_twice), patch.object(epoch_end, "FEW_STEPS", 10**9):
        arguments = ["--data", str(data), "--arch", "fcn8-edge", "--recipe", "standard", "--epochs", str(EPOCHS)]
        segtool(["train", *arguments, "--out", str(run), *options], standalone_mode=False)
    info = json.loads((run / "run.json").read_text())
    rows = history(run)
    images = info["data"]["splits"]["train"]
    return {
        "images": images,
        "steps_an_epoch": -(-images // info["batch_size"]),
        "training_loss": [float(row["loss"]) for row in rows],
        "lagging": lagging,
        "reestimated": [
            {"mean_iou": float(row["val_foreground_mean_iou"]), "loss": float(row["val_loss"])} for row in rows
        ],
    }


if __name__ == "__main__":
    main()
