"""A large image is held once while it is worked on: measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_contract, write_model

from segtool.images.image_io import read_mask

SIZE = (4000, 5000)
MEGAPIXELS = SIZE[0] * SIZE[1] / 1e6
# Freed memory that the allocator keeps, tiles in work, bands: what does not grow with the image.
SLACK_MB = 16

# Predicts a small image, then a large one, and prints by how many bytes the second raised the peak.
GROWTH = """
import sys
from pathlib import Path
from segtool.predict.predict import PredictOptions, predict_paths
from segtool.runtime.opening import load

def peak():
    return next(int(x.split()[1]) * 1024 for x in open("/proc/self/status") if x.startswith("VmHWM"))

segmenter = load(sys.argv[1], threads=1)
before = 0
for name in ("small", "large"):
    out = Path(sys.argv[2]) / name
    overlay = "pictures" in sys.argv
    options = PredictOptions(out=out, tile="never" if "never" in sys.argv else (64, 84), color=overlay, overlay=overlay)
    manifest = predict_paths(segmenter, [sys.argv[2] + f"/{name}.png"], options=options)
    if manifest.counts["done"] != 1:
        sys.exit(manifest.entries[0].error)
    before, after = peak(), before
print(before - after)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: write_model(folder / f"{name}.onnx", tiny_contract(class_names=("a", "b"), **changes))
        for name, changes in (("labels", {}), ("logits", {"head": "logits"}), ("colour", {"channels": 3}))
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("mode", "name", "way", "bytes_a_pixel"),
    [
        ("L", "labels", "tile", 1 + 1),  # what Pillow holds, and the labels
        ("L", "logits", "tile", 1 + 1),
        ("L", "labels", "never", 1 + 1),
        ("RGB", "labels", "never", 4 + 1 + 1),  # Pillow holds 4; in grey it is a copy
        ("RGB", "colour", "never", 4 + 1),
        ("RGB", "colour", "tile", 4 + 1),
        ("I;16", "labels", "tile", 2 + 1),
        ("L", "labels", "pictures", 1 + 1),
    ],
)
def test_a_large_image_is_held_once(
    model: dict[str, Path], tmp_path: Path, mode: str, name: str, way: str, bytes_a_pixel: int
) -> None:
    for size_name, size in (("small", (500, 500)), ("large", SIZE)):
        Image.new(mode, size[::-1], 1 if mode != "RGB" else (1, 1, 1)).save(tmp_path / f"{size_name}.png")
    call = [sys.executable, "-c", GROWTH, str(model[name]), str(tmp_path), way]
    result = subprocess.run(call, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    grown = int(result.stdout) / 1e6
    assert grown < bytes_a_pixel * MEGAPIXELS + SLACK_MB
    assert grown > bytes_a_pixel * MEGAPIXELS / 2  # the measure measures
    assert read_mask(tmp_path / "large/large.png").shape == SIZE
    assert not np.any(read_mask(tmp_path / "large/large.png"))
