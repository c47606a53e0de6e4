"""Why fcn8-lite upsamples its scores bilinearly, and whether labels flicker without: results/upsampling.json.

`python benchmarks/upsampling.py RUN` predicts the validation images of a run, the variant `transposed scores` of
photos.py, with its own transposed convolution, whose 4 x 4 taps are learned apart, and with bilinear upsampling of the
scores that the mean of these taps gives. Nothing is trained for the second one. A flip is a pixel whose label differs
from that of both its neighbours in a column or row, while these agree.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from commands import write_result
from keras import layers

from segtool.data.loading import load_dataset
from segtool.data.split import split
from segtool.metrics import Scores, confusion_matrix
from segtool.models.keras_file import load_keras_file

FACTOR = 4
Labels = npt.NDArray[np.integer[Any]]


def main() -> None:
    """Predict in both ways, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    info = json.loads((run / "run.json").read_text())
    data = load_dataset(info["config"]["data"])
    val = split(data, val_fraction=info["val_split"], test_fraction=info["test_split"], seed=info["seed"]).val
    network = load_keras_file(run / "model.keras")
    both = keras.Model(network.input, _both(network.get_layer("scores")))
    names = ("transposed convolution", "bilinear, not trained")
    matrices, flips = np.zeros((2, data.num_classes, data.num_classes), np.int64), np.zeros(2)
    for index in val.tolist():
        image, truth = data.image(index), data.label(index)
        for way, scores in enumerate(both.predict_on_batch(image[np.newaxis])):
            labels = scores[0, : truth.shape[0], : truth.shape[1]].argmax(-1)
            matrices[way] += confusion_matrix(truth, labels, data.num_classes, ignore_id=data.ignore_id)
            flips[way] += _flips(labels) / len(val)
    rows = [
        {"scores": name, "mean_iou": _mean_iou(matrix, data.class_names), "flips": float(count)}
        for name, matrix, count in zip(names, matrices, flips, strict=True)
    ]
    write_result("upsampling", {"network": info["arch"], "epochs": info["epochs"], "images": len(val), "ways": rows})


def _both(layer: Any) -> list[Any]:
    """Return the scores of the network's layer, and those of its mean tap upsampled."""
    (kernel,) = layer.get_weights()
    plain = layers.Conv2D(kernel.shape[2], 1, use_bias=False)
    upsampled = layers.UpSampling2D(FACTOR, interpolation="bilinear")(plain(layer.input))
    plain.set_weights([kernel.mean((0, 1)).T[np.newaxis, np.newaxis]])
    return [layer.output, upsampled]


def _flips(labels: Labels) -> float:
    """Return the fraction of the pixels that are flips."""
    down = (labels[:-2] == labels[2:]) & (labels[1:-1] != labels[2:])
    along = (labels[:, :-2] == labels[:, 2:]) & (labels[:, 1:-1] != labels[:, 2:])
    found = np.zeros(labels.shape, bool)
    found[1:-1] |= down
    found[:, 1:-1] |= along
    return float(found.mean())


def _mean_iou(matrix: npt.NDArray[np.int64], names: tuple[str, ...]) -> float:
    return Scores.from_matrix(matrix, class_names=names, background_id=None, images=1).mean_iou


if __name__ == "__main__":
    main()
