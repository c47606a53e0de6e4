"""The full pipeline on a folder of images: the 30 micrographs of ISBI 2012, 6 of them held out.

`python benchmarks/membrane.py DATA [--work DIR]` splits by a seed, trains with no other option, on small crops, and the
edge network on these, exports with --quantize, predicts and evaluates the FP32 and the INT8 file on the 6 held-out
images, which selected nothing. Then it writes results/membrane.json and docs/membrane.png, the predictions of the last
run. DATA is a folder with images/ and masks/ (0 membrane, 255 cell; Arganda-Carreras et al., Frontiers in Neuroanatomy
9, 2015). The data may be used for research but are not part of this project: the picture in docs/ shows predictions and
their errors at a third of the size. A picture with images and truth stays in the work folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from commands import history, segtool_json, write_result
from PIL import Image

from segtool.data.base import Dataset
from segtool.data.loading import load_dataset
from segtool.data.split import split
from segtool.images.image_io import read_mask
from segtool.metrics import Scores, confusion_matrix

SEED, VAL, TEST = 0, 0.1, 0.2
CROPS = ("--crop", "128x128", "--epochs", "40")
RUNS = {"default": (), "crops": CROPS, "edge": ("--arch", "fcn8-edge", *CROPS)}
FILES = {"float32": "model.onnx", "int8": "model.int8.onnx"}
DESCRIPTION = {"classes": [{"name": "membrane", "value": 0}, {"name": "cell", "value": 255}]}
NOTE = (
    "The 30 images are consecutive sections of one volume, so held-out images resemble their neighbours in training. "
    "The settings of the last run were chosen on the validation images."
)
SHOWN, SHRINK = 3, 3
_MARGIN = ((0, 6), (0, 6), (0, 0))
RIGHT, MISSED, INVENTED = ((40, 40, 40), (225, 225, 225)), (230, 60, 40), (60, 110, 230)
PICTURE = Path(__file__).resolve().parents[1] / "docs" / "membrane.png"


def main() -> None:
    """Go the whole way and write the result and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, help="keep the run here; a finished one is not trained again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.work or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        _describe(arguments.data.resolve(), folder / "data")
        data = load_dataset(str(folder / "data"))
        test = split(data, val_fraction=VAL, test_fraction=TEST, seed=SEED).test
        found = {}
        for name, options in RUNS.items():
            run = folder / name
            _train(run, options, folder)
            exported = segtool_json("export", str(run), "--quantize", "--overwrite", cwd=folder)
            scores = {
                part: {precision: _evaluate(run / file, part, folder) for precision, file in FILES.items()}
                for part in ("val", "test")
            }
            predicted = _predict(run / FILES["int8"], data, test, folder)
            _require_same(predicted, data, test, scores["test"]["int8"])
            found[name] = _payload(run, options, exported, scores)
        _draw(predicted[:SHOWN], data, test[:SHOWN])
        write_result("membrane", {"note": NOTE, "runs": found})


def _describe(source: Path, target: Path) -> None:
    """Put the names of the classes beside links to the images and masks."""
    target.mkdir(exist_ok=True)
    for kind in ("images", "masks"):
        (target / kind).unlink(missing_ok=True)
        (target / kind).symlink_to(source / kind)
    (target / "dataset.json").write_text(json.dumps(DESCRIPTION), encoding="utf-8")


def _train(run: Path, options: tuple[str, ...], folder: Path) -> None:
    shares = ("--val-split", str(VAL), "--test-split", str(TEST), "--seed", str(SEED))
    if not (run / "metrics.json").is_file():
        segtool_json("train", "--data", "data", *shares, *options, "--out", run.name, cwd=folder)


def _evaluate(model: Path, part: str, folder: Path) -> dict[str, Any]:
    pictures = ("--pictures", str(folder / f"{model.parent.name}-{model.stem}-{part}.png"), "--overwrite")
    return segtool_json("evaluate", str(model), "--split", part, *pictures, cwd=folder)


def _predict(model: Path, data: Dataset, indices: np.ndarray, folder: Path) -> list[np.ndarray]:
    """Run `segtool predict` on whole images and return the label maps that it wrote."""
    files = [str(folder / "data" / "images" / data.sample_names[index]) for index in indices]
    out = ("--out", str(folder / "predictions"), "--overwrite")
    manifest = segtool_json("predict", *files, "--model", str(model), *out, cwd=folder)
    return [read_mask(folder / "predictions" / entry["outputs"]["labels"]) for entry in manifest["entries"]]


def _require_same(predicted: list[np.ndarray], data: Dataset, indices: np.ndarray, scores: dict[str, Any]) -> None:
    """Stop where the predicted files do not have the figures that `segtool evaluate` says."""
    matrix = np.zeros((2, 2), np.int64)
    for index, ids in zip(indices, predicted, strict=True):
        matrix += confusion_matrix(data.label(index), ids, 2)
    found = Scores.from_matrix(matrix, class_names=data.class_names, background_id=None, images=len(indices))
    if found.mean_iou != scores["mean_iou"]:
        raise SystemExit(f"predict gives a mean IoU of {found.mean_iou}, evaluate says {scores['mean_iou']}")


def _draw(predicted: list[np.ndarray], data: Dataset, indices: np.ndarray) -> None:
    """Draw predictions, and below them where they are wrong: red is missed membrane, blue invented membrane."""
    above, below = [], []
    for index, ids in zip(indices, predicted, strict=True):
        truth, colors = data.label(index), np.array(RIGHT, np.uint8)[ids]
        above.append(_shrunk(colors))
        wrong = (np.where(colors > 128, 255, 170)).astype(np.uint8)
        wrong[(truth == 0) & (ids == 1)] = MISSED
        wrong[(truth == 1) & (ids == 0)] = INVENTED
        below.append(_shrunk(wrong))
    rows = [
        np.concatenate([np.pad(part, _MARGIN, constant_values=255) for part in row], axis=1) for row in (above, below)
    ]
    picture = np.concatenate(rows)[:-6, :-6]
    Image.fromarray(picture).quantize(64).save(PICTURE, optimize=True)
    print("wrote", PICTURE)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).reduce(SHRINK))


def _payload(run: Path, options: tuple[str, ...], exported: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    seconds = [float(row["seconds"]) for row in history(run)]
    return {
        "commands": [
            " ".join(["segtool train --data DATA", f"--val-split {VAL} --test-split {TEST} --seed {SEED}", *options]),
            "segtool export RUN --quantize",
            "segtool evaluate RUN/model.int8.onnx --split test",
        ],
        **{key: info[key] for key in ("arch", "recipe", "crop", "recipe_values", "parameters", "versions")},
        "splits": info["data"]["splits"],
        "epochs": len(seconds),
        "seconds": round(sum(seconds)),
        "epoch_seconds": {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)},
        "scores": {part: {name: _figures(score) for name, score in found.items()} for part, found in scores.items()},
        "convention": scores["test"]["int8"]["convention"],
        "gates": exported["gates"],
        "size_bytes": {name: (run / file).stat().st_size for name, file in FILES.items()},
    }


def _figures(score: dict[str, Any]) -> dict[str, Any]:
    classes = {item["name"]: {key: item[key] for key in ("iou", "dice")} for item in score["classes"]}
    return {**{key: score[key] for key in ("images", "pixel_accuracy", "mean_iou", "mean_dice")}, "classes": classes}


if __name__ == "__main__":
    main()
