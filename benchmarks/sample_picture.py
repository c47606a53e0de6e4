"""Draw docs/sample.jpg: a photograph, and the overlay that `segtool predict --overlay` makes of it.

`python benchmarks/sample_picture.py MODEL.onnx`. MODEL is an exported file of a network for street scenes; that of the
README is `segtool train --data camvid/`, then `segtool export --quantize`. The photograph is in docs/; its source and
its licence are in docs/photographs.md. Needs segtool alone (`pip install .`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from commands import segtool_json
from PIL import Image

import segtool
from segtool.images.legend import PAPER, Legend, legend_keys

DOCS = Path(__file__).resolve().parents[1] / "docs"
PHOTOGRAPH = DOCS / "berlin-cathedral.webp"
PICTURE = DOCS / "sample.jpg"
WIDTH = 1400  # of the picture, in pixels
GAP = 8
MOST_BYTES = 250_000
PROVENANCE = (
    "Photograph: Gary Todd, Berlin Cathedral (28668994926), public domain, from the package gcompris-qt-data. "
    "Overlay: segtool predict --overlay. See docs/photographs.md."
)


def main() -> None:
    """Predict the photograph, and put it beside its overlay with one legend for the whole width."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--model", str(model), "--overlay", "--out", folder)
        segtool_json("predict", str(PHOTOGRAPH), *options, cwd=DOCS.parent)
        labels = np.asarray(Image.open(Path(folder, f"{PHOTOGRAPH.stem}.png")))
        overlay = Image.open(Path(folder, f"{PHOTOGRAPH.stem}.overlay.png"))
        pair = beside(Image.open(PHOTOGRAPH).convert("RGB"), overlay)
    picture = with_legend(pair, labels, model)
    picture.save(PICTURE, quality=85, subsampling=0, optimize=True, comment=PROVENANCE)
    size = PICTURE.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{PICTURE}: {size} bytes; expected at most {MOST_BYTES}. Lower the quality or WIDTH.")
    print(f"{PICTURE}: {picture.width} x {picture.height}, {size / 1e3:.0f} KB")


def beside(photograph: Image.Image, overlay: Image.Image) -> Image.Image:
    """Return the photograph and its overlay, WIDTH pixels together; the overlay's own legend is cut off."""
    width = (WIDTH - GAP) // 2
    size = width, round(width * photograph.height / photograph.width)
    pair = Image.new("RGB", (2 * width + GAP, size[1]), PAPER)
    pair.paste(photograph.resize(size, Image.Resampling.LANCZOS), (0, 0))
    drawn = overlay.crop((0, 0, *photograph.size))
    pair.paste(drawn.resize(size, Image.Resampling.LANCZOS), (width + GAP, 0))
    return pair


def with_legend(pair: Image.Image, labels: np.ndarray, model: Path) -> Image.Image:
    """Return the pair with the legend of `predict --overlay` below, drawn for the width of both."""
    contract = segtool.load(model).contract
    keys = legend_keys(labels, contract.class_names, contract.palette, contract.background_id)
    legend = Legend(keys, (pair.height, pair.width))
    rows = np.concatenate([np.asarray(pair), *legend.bands()])
    return Image.fromarray(rows)


if __name__ == "__main__":
    main()
