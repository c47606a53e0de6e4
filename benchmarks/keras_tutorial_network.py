"""The network of the Keras tutorial on image segmentation, trained for a few minutes on generated shapes.

    python benchmarks/keras_tutorial_network.py OUT [--steps N]

OUT is what `torch_networks.py` wrote; its images in OUT/data are used, and OUT/keras_tutorial.keras and its facts,
OUT/keras_tutorial.json, are added for `foreign_engines.py`. The structure is that of keras.io/examples/vision: a
U-Net-like Xception of separable convolutions down, transposed convolutions up, and residual sums. It takes float32
pixels of 0..255, and ends in a softmax. It is trained on crops, and saved for the size of the images.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

from segtool.data.loading import load_dataset

NAME = "keras_tutorial"
HELD_OUT = 40  # as in torch_networks.py
CROP, BATCH = 96, 8
MOMENTUM = 0.9  # so that the averages follow in so few steps


def network(size: tuple[int, ...], classes: int) -> Any:
    """Build the network for images (h, w, 3) of 0..255; it returns probabilities (h, w, K)."""
    image = keras.Input((*size, 3), name="image")
    x = layers.Conv2D(32, 3, strides=2, padding="same")(image)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=MOMENTUM)(x))
    for filters in (64, 128, 256):
        taken = x
        for _ in range(2):
            x = layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(taken)])
    for filters in (256, 128, 64, 32):
        taken = x
        for _ in range(2):
            x = layers.Conv2DTranspose(filters, 3, padding="same")(layers.Activation("relu")(x))
            x = layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = layers.UpSampling2D(2)(x)
        x = layers.add([x, layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(taken))])
    return keras.Model(image, layers.Conv2D(classes, 3, activation="softmax", padding="same")(x))


def crops(images: np.ndarray, labels: np.ndarray, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of random crops, float32 (n, CROP, CROP, 3) and int32 (n, CROP, CROP)."""
    random = np.random.default_rng(0)
    for _ in range(steps):
        chosen = random.choice(len(images), BATCH, replace=False)
        top, left = (int(random.integers(side - CROP + 1)) for side in labels.shape[1:])
        part = (chosen, slice(top, top + CROP), slice(left, left + CROP))
        yield images[part].astype(np.float32), labels[part].astype(np.int32)


def mean_iou(found: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Return the mean IoU over the classes."""
    pairs = [(found == k, labels == k) for k in range(classes)]
    return float(np.mean([np.sum(one & other) / np.sum(one | other) for one, other in pairs]))


def main() -> None:
    """Train, and write the network and its facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    data = load_dataset(str(asked.out / "data"))
    images, labels = data.arrays(range(len(data)))
    keras.utils.set_random_seed(0)
    student = network((CROP, CROP), data.num_classes)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, asked.steps)
    student.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    for step, batch in enumerate(crops(images[:-HELD_OUT], labels[:-HELD_OUT], asked.steps), 1):
        loss = student.train_on_batch(*batch)
        if step % 50 == 0:
            print(f"step {step}, loss {float(loss):.3f}", flush=True)
    model = network(labels.shape[1:], data.num_classes)
    model.set_weights(student.get_weights())
    held_out = images[-HELD_OUT:].astype(np.float32)
    found = model.predict(held_out, batch_size=BATCH, verbose=0).argmax(-1)
    score = mean_iou(found, labels[-HELD_OUT:], data.num_classes)
    model.save(asked.out / f"{NAME}.keras")
    facts = {
        "name": NAME,
        "source": "the U-Net-like Xception of the Keras tutorial, in keras_tutorial_network.py",
        "parameters": model.count_params(),
        "input_scale": "0..255",
        "size": labels.shape[1:],
        "mean_iou_keras": score,
        "keras": keras.__version__,
    }
    (asked.out / f"{NAME}.json").write_text(json.dumps(facts, indent=1))
    print(f"mean IoU {score:.3f}")


if __name__ == "__main__":
    main()
