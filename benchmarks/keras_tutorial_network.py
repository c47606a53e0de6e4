"""The network of the Keras tutorial on image segmentation, trained for a few minutes on generated shapes.

    python benchmarks/keras_tutorial_network.py OUT [--size HxW] [--epochs N]

Writes OUT/data (the images of `torch_networks.py`, unless they are there), OUT/keras_tutorial.keras and its facts,
OUT/keras_tutorial.json, for `foreign_engines.py`. The structure is that of keras.io/examples/vision: a U-Net-like
Xception of separable convolutions down, transposed convolutions up, and residual sums. It takes float32 pixels of
0..255, and ends in a softmax.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from shapes import CLASSES, shapes, write_data

NAME = "keras_tutorial"
COUNT, HELD_OUT = 160, 40  # as in torch_networks.py


def network(size: tuple[int, int]) -> Any:
    """Build the network for images (h, w, 3) of 0..255; it returns probabilities (h, w, K)."""
    image = keras.Input((*size, 3), name="image")
    x = layers.Conv2D(32, 3, strides=2, padding="same")(image)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    for filters in (64, 128, 256):
        taken = x
        for _ in range(2):
            x = layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(taken)])
    for filters in (256, 128, 64, 32):
        taken = x
        for _ in range(2):
            x = layers.Conv2DTranspose(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        x = layers.add([x, layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(taken))])
    return keras.Model(image, layers.Conv2D(len(CLASSES), 3, activation="softmax", padding="same")(x))


def mean_iou(found: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean IoU over the classes."""
    ious = [np.sum((found == k) & (labels == k)) / np.sum((found == k) | (labels == k)) for k in range(len(CLASSES))]
    return float(np.mean(ious))


def main() -> None:
    """Train, and write the network and its facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="256x256", metavar="HxW")
    parser.add_argument("--epochs", type=int, default=15)
    asked = parser.parse_args()
    height, width = map(int, asked.size.split("x"))
    images, labels = shapes(COUNT, seed=0, size=(height, width))
    if not (asked.out / "data").is_dir():
        write_data(asked.out / "data", images, labels)
    keras.utils.set_random_seed(0)
    model = network((height, width))
    steps = asked.epochs * ((COUNT - HELD_OUT) // 8)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        "sparse_categorical_crossentropy",
    )
    x, y = images.astype(np.float32), labels.astype(np.int32)
    model.fit(x[:-HELD_OUT], y[:-HELD_OUT], batch_size=8, epochs=asked.epochs, verbose=2)
    score = mean_iou(model.predict(x[-HELD_OUT:], batch_size=8, verbose=0).argmax(-1), y[-HELD_OUT:])
    model.save(asked.out / f"{NAME}.keras")
    facts = {
        "name": NAME,
        "source": "the U-Net-like Xception of the Keras tutorial, in keras_tutorial_network.py",
        "parameters": model.count_params(),
        "input_scale": "0..255",
        "size": [height, width],
        "held_out": HELD_OUT,
        "mean_iou_keras": score,
        "keras": keras.__version__,
    }
    (asked.out / f"{NAME}.json").write_text(json.dumps(facts, indent=1))
    print(f"mean IoU {score:.3f}")


if __name__ == "__main__":
    main()
