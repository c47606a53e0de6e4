"""What Winograd's convolutions gain in FP32, on FCN-8 with VGG16 and beside it the U-Net: results/winograd.json.

    python benchmarks/winograd.py

The networks are of Keras, with random weights: the time does not depend on them. Both forms of each are timed
interleaved, one image of 256 x 256, one thread. The rewrite needs 3x3 convolutions right in front of a 2x2 max
pooling; a U-Net reads the map in front of the pooling again, so it has none.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from commands import write_result

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
from keras import layers

from segtool.benchmark.latency import compare_interleaved
from segtool.export.heads import with_head
from segtool.export.keras_to_onnx import keras_to_onnx
from segtool.export.passes import FLOAT_REWRITES, SHARED_REWRITES, WINOGRAD_REWRITES, rewrite
from segtool.export.running import onnx_runner, save

SIZE, ROUNDS = 256, 15


def main() -> None:
    """Build, rewrite, time and write."""
    with tempfile.TemporaryDirectory() as name:
        write_result(
            "winograd", {"size": SIZE, "networks": [measured(build, Path(name)) for build in (vgg_fcn8, unet)]}
        )


def measured(build: Any, folder: Path) -> dict[str, Any]:
    """Return the places that are rewritten, and the time of the direct form over that of Winograd's."""
    keras.utils.set_random_seed(0)
    graph, _ = rewrite(with_head(keras_to_onnx(build()), "labels"), (*SHARED_REWRITES, *FLOAT_REWRITES))
    shorter, (outcome,) = rewrite(graph, WINOGRAD_REWRITES)
    row: dict[str, Any] = {"network": build.__name__, "places": len(outcome.changes)}
    if outcome.changes:
        image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3)).astype(np.uint8)
        runs = [onnx_runner(save(item, folder / f"{i}.onnx"), threads=1)[0] for i, item in enumerate((graph, shorter))]
        row["same_labels"] = float((runs[0](image) == runs[1](image)).mean())
        ratio = compare_interleaved(*(partial(run, image) for run in runs), rounds=ROUNDS)
        row["speedup"] = {"median": ratio.median, "low": ratio.low, "high": ratio.high}
    print(row, flush=True)
    return row


def vgg_fcn8(classes: int = 21) -> keras.Model:
    """Build FCN-8 on VGG16 (Long et al., CVPR 2015) without its fully connected layers."""
    image = layers.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x, maps = layers.Rescaling(1 / 255)(image), []
    for count, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            x = layers.Conv2D(count, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        maps.append(layers.Conv2D(classes, 1)(x))
    x = maps[4]
    for skip in (maps[3], maps[2]):
        x = layers.Add()([layers.Conv2DTranspose(classes, 4, strides=2, padding="same")(x), skip])
    scores = layers.Conv2DTranspose(classes, 16, strides=8, padding="same", activation="softmax")(x)
    return keras.Model(image, scores)


def unet(classes: int = 4) -> keras.Model:
    """Build the U-Net (Ronneberger et al., 2015), half as wide and padded."""
    image = layers.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x, skips = layers.Rescaling(1 / 255)(image), []
    for count in (32, 64, 128, 256):
        x = _pair(x, count)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _pair(x, 512)
    for count, skip in zip((256, 128, 64, 32), reversed(skips), strict=True):
        x = _pair(layers.Concatenate()([layers.Conv2DTranspose(count, 2, strides=2)(x), skip]), count)
    return keras.Model(image, layers.Conv2D(classes, 1, activation="softmax")(x))


def _pair(x: Any, count: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(count, 3, padding="same", activation="relu")(x)
    return x


if __name__ == "__main__":
    main()
