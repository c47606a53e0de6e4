"""Put a run's INT8 file into the package: `python benchmarks/ship_model.py RUN`.

Export it with `--preset x86` first: 7-bit weights are correct on every processor, with or without VNNI.

The golden images of the file come from the generator, for any training data, so the package contains no image of a data
set.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx

import segtool
from segtool.contract import GoldenPair
from segtool.data.generator import generate
from segtool.export.stamp import with_metadata
from segtool.files import write_bytes
from segtool.models.shipped import SHIPPED
from segtool.runtime.model_file import sealed

GOLDEN_IMAGES, SEED = 4, 2026


def main() -> None:
    """Give the file another golden pair, prove it on that, and write it and its model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run: Path = parser.parse_args().run
    source = run / "model.int8.onnx"
    segmenter = segtool.load(source, provider="cpu")
    size = (segmenter.contract.height, segmenter.contract.width)
    images, _ = generate(GOLDEN_IMAGES, seed=SEED).arrays(np.arange(GOLDEN_IMAGES), size=size)
    golden = GoldenPair(images, segmenter.predict_batch(images))
    data = sealed(with_metadata(onnx.load(source), segmenter.contract, golden).SerializeToString())
    with tempfile.TemporaryDirectory() as name:
        finished = Path(name) / "model.onnx"
        finished.write_bytes(data)
        if segtool.load(finished, provider="cpu").verify().mismatching_pixels:
            raise SystemExit("the file does not give its own golden labels")
    write_bytes(SHIPPED, data)
    write_bytes(SHIPPED.with_name("MODEL_CARD.md"), _card(run).encode())
    print(f"wrote {SHIPPED} ({len(data) / 1e6:.2f} MB)")


def _card(run: Path) -> str:
    info = json.loads((run / "run.json").read_text())
    test = segtool.load(run / "model.int8.onnx", provider="cpu").contract
    scores = {part: json.loads((run / "metrics.json").read_text())[part] for part in ("val", "test")}
    int8 = test.metrics["int8"]
    rows = [("FP32, validation", scores["val"]), ("FP32, test", scores["test"]), ("INT8, validation", int8)]
    table = "\n".join(f"| {title} | {_figures(score)} |" for title, score in rows)
    parts, versions = info["data"]["splits"], info["versions"]
    return f"""# m2nist.int8.onnx

The model that `segtool predict` takes where no other was trained or named.

- What it does: a class for each pixel of a grey 64 x 84 image of handwritten digits, 0 to 9 and background.
- Network: {info["arch"]}, {info["parameters"]:,} parameters, INT8 ({test.quantization["preset"]} preset).
- Data: M2NIST (Farhan Ahmad, Kaggle "farhanhubble/multimnistm2nist", CC BY-SA 4.0; of MNIST by Y. LeCun, C. Cortes
  and C. J. C. Burges): {parts["train"]} images to train, {parts["val"]} for validation, {parts["test"]} for a test.
- Made by: `segtool train --data M2NIST --arch {info["arch"]} --recipe {info["recipe"]} --val-split {info["val_split"]}
  --test-split {info["test_split"]} --seed {info["seed"]}` ({info["epochs"]} epochs, {info["precision"]["name"]}),
  `segtool export --quantize --preset {test.quantization["preset"]}` (7-bit weights: right on every processor),
  `python benchmarks/ship_model.py RUN`.
- With: segtool {info["segtool_version"]}, Keras {versions["keras"]}; {info["created"][:10]}.
- The images it verifies itself with are generated (seed {SEED}), not of M2NIST.

| | pixel accuracy % | mean IoU, digits % | mean Dice, digits % |
| --- | --- | --- | --- |
{table}

The best epoch was chosen on the validation images; no epoch, recipe or width was chosen on the test images.

It knows digits as in MNIST, bright on black, two or three in an image. It is an example and for tests, not for
reading forms, plates or anything that matters.
"""


def _figures(score: dict[str, float]) -> str:
    keys = ("pixel_accuracy", "foreground_mean_iou", "foreground_mean_dice")
    return " | ".join(f"{100 * score[key]:.2f}" for key in keys)


if __name__ == "__main__":
    main()
