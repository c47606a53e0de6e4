"""What tiles cost where they meet: results/seams.json.

`python benchmarks/seams.py NETWORK --data SPEC --whole HxW --tile HxW` exports the network at both sizes, resizes the
validation images to the larger one, and predicts them whole, in tiles with blended scores, and in tiles whose labels
are not blended. The three have the same weights, so all differences come from the tiles. Each way is compared with the
whole image:

- pixels with another label, within `NEAR` pixels of a line where tiles meet, and elsewhere;
- steps: neighbours on both sides of such a line with different labels. More steps than in the whole image are a
  visible seam.

Rows are added to those of the file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from commands import RESULTS, write_result

import segtool
from segtool.data.loading import load_dataset
from segtool.data.split import training_split
from segtool.export import ExportOptions, export_model
from segtool.images.image_io import resize_labels
from segtool.images.pixels import ArrayPixels, resize_image
from segtool.metrics import Scores, confusion_matrix
from segtool.runtime.tiling import predict_tiled, spans

NEAR = 8
WAYS = ("whole", "blended", "not blended")
Labels = npt.NDArray[np.integer[Any]]
Size = tuple[int, int]


def main() -> None:
    """Export, predict in three ways, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--whole", type=_size, required=True)
    parser.add_argument("--tile", type=_size, required=True)
    parser.add_argument("--images", type=int, default=40, help="validation images")
    parser.add_argument("--name", help="of the network, in the results")
    arguments = parser.parse_args()
    whole, tile = arguments.whole, arguments.tile
    with tempfile.TemporaryDirectory() as folder:
        files = [_exported(arguments.network, arguments.data, size, Path(folder)) for size in (whole, tile)]
        row = _measured(files, arguments.data, arguments.images)
    _add({"network": arguments.name or arguments.network.stem, "data": Path(arguments.data).name, **row})


def _size(text: str) -> Size:
    height, width = text.split("x")
    return int(height), int(width)


def _exported(network: Path, data: str, size: Size, folder: Path) -> segtool.Segmenter:
    """Return the network at a size, with scores that can be blended."""
    out = folder / f"{size[0]}x{size[1]}.onnx"
    options = ExportOptions(data=data, size=size, head="probabilities", winograd="off", out=out, parity_images=4)
    export_model(network, options=options)
    return segtool.load(out, provider="cpu")


def _measured(files: list[segtool.Segmenter], spec: str, images: int) -> dict[str, Any]:
    data, (whole, tile) = load_dataset(spec), (file.input_size for file in files)
    chosen = training_split(len(data), data.splits or {}, spec=spec, val_fraction=0.2, test_fraction=0.0, seed=0).val
    chosen = chosen[:: max(1, len(chosen) // images)][:images].tolist()
    lines = [[span.first for span in spans(length, part)[1:]] for length, part in zip(whole, tile, strict=True)]
    near = _near(whole, lines)
    matrices = np.zeros((len(WAYS), data.num_classes, data.num_classes), np.int64)
    other, steps = np.zeros((len(WAYS), 2)), np.zeros(len(WAYS))
    for index in chosen:
        truth = resize_labels(data.label(index), *whole)
        predicted = _predicted(files, resize_image(data.image(index), *whole))
        for way, labels in enumerate(predicted):
            matrices[way] += confusion_matrix(truth, labels, data.num_classes, ignore_id=data.ignore_id)
            differs = labels != predicted[0]
            other[way] += differs[near].mean(), differs[~near].mean()
            steps[way] += _steps(labels, lines)
    return {
        "images": len(chosen),
        "whole": whole,
        "tile": tile,
        "lines": lines,
        "near_pixels": NEAR,
        "ways": [
            {
                "way": name,
                "mean_iou": Scores.from_matrix(
                    matrices[way], class_names=data.class_names, background_id=None, images=len(chosen)
                ).mean_iou,
                "other_labels_near": other[way][0] / len(chosen),
                "other_labels_elsewhere": other[way][1] / len(chosen),
                "steps": steps[way] / len(chosen),
            }
            for way, name in enumerate(WAYS)
        ],
    }


def _predicted(files: list[segtool.Segmenter], image: npt.NDArray[np.uint8]) -> list[Labels]:
    whole, tiled = files
    pixels = ArrayPixels(image)
    return [
        whole(image, tile="never"),
        tiled(image, tile=tiled.input_size),
        predict_tiled(pixels, tiled.input_size, lambda tiles: tiled.run(tiles).argmax(-1)),
    ]


def _near(size: Size, lines: list[list[int]]) -> npt.NDArray[np.bool_]:
    """Return which pixels are within `NEAR` pixels of a line."""
    near = np.zeros(size, bool)
    for line in lines[0]:
        near[line - NEAR : line + NEAR] = True
    for line in lines[1]:
        near[:, line - NEAR : line + NEAR] = True
    return near


def _steps(labels: Labels, lines: list[list[int]]) -> float:
    """Return the fraction of the neighbours across the lines whose labels differ."""
    pairs = [labels[line - 1] != labels[line] for line in lines[0]]
    pairs += [labels[:, line - 1] != labels[:, line] for line in lines[1]]
    return float(np.concatenate(pairs).mean())


def _add(row: dict[str, Any]) -> None:
    """Add a row to the results, in place of an earlier one of the same network and sizes."""
    path = RESULTS / "seams.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    new = json.loads(json.dumps(row))
    key = ("network", "data", "whole", "tile")
    kept = [item for item in rows if any(item[name] != new[name] for name in key)]
    write_result("seams", {"rows": [*kept, new]})


if __name__ == "__main__":
    main()
