"""Find the input scaling of networks that were trained with different ones: results/input_scaling.json and .md.

`python benchmarks/input_scaling.py` trains a small U-Net of float32 input with each of the five usual scalings, and one
whose first layer normalizes each image, so that no scaling can be told from its scores. Each is exported without
`--input-scale`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from commands import RESULTS, call, write_result
from shapes import CLASSES, SIZE, shapes, write_data

from segtool.export.network.scaling import SCALES, InputScale

NAME, COUNT, EPOCHS = "input_scaling", 240, 12
_SCORES = re.compile(r"(caffe|imagenet|0\.\.255|0\.\.1|-1\.\.1) (\d[\d.]*)")


def main() -> None:
    """Train, export, and write the results."""
    images, labels = shapes(COUNT, seed=0)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "data", images, labels)
        for title, scale, normalizes in [
            *((scale.name, scale, False) for scale in SCALES),
            ("none to tell", None, True),
        ]:
            model = train(images, labels, scale or SCALES[0], normalizes=normalizes)
            model.save(folder / "net.keras")
            rows.append({"trained_with": title, **export(folder)})
            print(rows[-1], flush=True)
    write_result(NAME, {"networks": rows, "images": COUNT, "size": SIZE, "epochs": EPOCHS})
    (RESULTS / f"{NAME}.md").write_text(table(rows), encoding="utf-8")


def train(images: np.ndarray, labels: np.ndarray, scale: InputScale, *, normalizes: bool) -> Any:
    """Return a small U-Net, trained on all images but the last 40."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3))
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False)(image) if normalizes else image
    skips = []
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    for filters, skip in ((32, skips[1]), (16, skips[0])):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    model = keras.Model(image, layers.Conv2D(len(CLASSES), 1)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(scale.apply(images[:-40]), labels[:-40], batch_size=8, epochs=EPOCHS, verbose=0)
    return model


def export(folder: Path) -> dict[str, Any]:
    """Export without `--input-scale`; return what was found, or that it is asked for, and the scores."""
    out = folder / "model.onnx"
    out.unlink(missing_ok=True)
    command = call("export", str(folder / "net.keras"), "--data", str(folder / "data"), "--out", str(out))
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join(found.stderr.split())
    scores = {name: float(value) for name, value in _SCORES.findall(said)}
    chosen = re.search(r"Input scaling (\S+), found", said)
    return {"exit_code": found.returncode, "found": chosen[1] if chosen else "asked for", "mean_iou_percent": scores}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a table in Markdown."""
    names = [scale.name for scale in SCALES]
    lines = [f"| trained with | {' | '.join(names)} | found |", "| --- " * (len(names) + 2) + "|"]
    for row in rows:
        scores = [f"{row['mean_iou_percent'][name]:.1f}" if name in row["mean_iou_percent"] else "" for name in names]
        lines.append(f"| {row['trained_with']} | {' | '.join(scores)} | {row['found']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
