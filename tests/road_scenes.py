"""Generated road scenes in the manner of CamVid: RGB, 11 classes, some of them rare, and void pixels.

`python tests/road_scenes.py OUT [--counts 367 101 233] [--size 360x480] [--layout parts|annot|colors] [--seed 0]`
writes a folder that `segtool train --data OUT` takes as it is:

- parts: train/images and train/masks, val/..., test/...; ids, void is 255
- annot: train/ and trainannot/, val/ and valannot/, ..., as SegNet's CamVid; ids, void is 11
- colors: train/ and train_labels/, ..., masks of colours named 0001_L.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"
)  # fmt: skip
VOID = 11
COLORS = np.array(
    [
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 0),
    ],
    np.uint8,
)  # fmt: skip
_TONES = np.array(
    [
        (190, 205, 225), (120, 95, 80), (110, 110, 105), (90, 90, 95), (140, 130, 125), (50, 85, 40),
        (200, 60, 50), (130, 105, 70), (70, 80, 150), (160, 110, 90), (100, 140, 60), (60, 60, 60),
    ],
    np.float32,
)  # fmt: skip
_GRAIN = np.array([4, 22, 8, 10, 14, 34, 10, 26, 18, 20, 24, 10], np.float32)
PARTS = ("train", "val", "test")


def scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image uint8 (H, W, 3) and its labels uint8 (H, W), ids of `CLASSES` and `VOID`."""
    labels = _labels(rng, size)
    light = rng.uniform(0.6, 1.2) * np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), size[1])[None, :, None]
    tones = _TONES + rng.normal(0, 14, _TONES.shape)
    coarse = np.kron(rng.normal(0, 1, (-(-size[0] // 4), -(-size[1] // 4))), np.ones((4, 4)))[: size[0], : size[1]]
    grain = (coarse + rng.normal(0, 0.5, size)) * _GRAIN[labels]
    image = tones[labels] * light + grain[..., None] + rng.normal(0, 3, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), labels


def _labels(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    canvas = Image.new("L", (width, height), CLASSES.index("sky"))
    draw = ImageDraw.Draw(canvas)
    horizon = height * rng.uniform(0.4, 0.55)

    def shape(name: str, kind: str, box: Sequence[float]) -> None:
        getattr(draw, kind)([round(v) for v in box], fill=CLASSES.index(name) if name != "void" else VOID)

    left = 0.0
    while left < width:
        wide = width * rng.uniform(0.08, 0.25)
        shape("building", "rectangle", (left, horizon * rng.uniform(0.2, 0.8), left + wide, height))
        left += wide + width * rng.choice([0, 0.05])
    for _ in range(rng.integers(1, 5)):
        x, r = rng.uniform(0, width), height * rng.uniform(0.06, 0.16)
        shape("tree", "ellipse", (x - r, horizon - 1.6 * r, x + r, horizon + 0.5 * r))
    shape("pavement", "rectangle", (0, horizon, width, height))
    middle = width * rng.uniform(0.4, 0.6)
    draw.polygon(
        [(middle - width * 0.06, horizon), (middle + width * 0.06, horizon), (width * 0.95, height), (0, height)],
        fill=CLASSES.index("road"),
    )
    if rng.random() < 0.4:
        shape("fence", "rectangle", (0, horizon, width * rng.uniform(0.1, 0.3), horizon + height * 0.07))
    for _ in range(rng.integers(0, 4)):
        y = horizon + (height - horizon) * rng.uniform(0.1, 0.7)
        r = (y - horizon) * 0.35 + height * 0.015
        x = rng.uniform(0.2, 0.8) * width
        shape("car", "rectangle", (x - 1.3 * r, y - r, x + 1.3 * r, y))
        shape("void", "rectangle", (x - 0.2 * r, y - 0.3 * r, x + 0.2 * r, y - 0.1 * r))
    for _ in range(rng.integers(1, 5)):
        x = rng.uniform(0, width)
        shape("pole", "rectangle", (x, horizon * 0.4, x + max(1, width / 160), horizon + height * 0.12))
        if rng.random() < 0.4:
            r = height * 0.025
            shape("sign", "rectangle", (x - r, horizon * 0.4, x + r, horizon * 0.4 + 2 * r))
    if rng.random() < 0.35:
        x, r = rng.uniform(0, width), height * rng.uniform(0.012, 0.025)
        shape("pedestrian", "ellipse", (x - r, horizon, x + r, horizon + 6 * r))
    if rng.random() < 0.12:
        x, r = rng.uniform(0.2, 0.8) * width, height * rng.uniform(0.025, 0.04)
        shape("bicyclist", "ellipse", (x - r, horizon, x + r, horizon + 4 * r))
    shape("void", "rectangle", (0, height - max(1, height // 40), width, height))
    return np.asarray(canvas, np.uint8)


def write_scenes(
    out: Path, *, counts: Sequence[int], size: tuple[int, int] = (360, 480), layout: str = "parts", seed: int = 0
) -> None:
    """Write scenes, `counts` of each part in turn, and their dataset.json."""
    for part_index, (part, count) in enumerate(zip(PARTS, counts, strict=True)):
        images, masks = _folders(out, part, layout)
        if count:
            images.mkdir(parents=True)
            masks.mkdir(parents=True)
        for index in range(count):
            image, labels = scene(np.random.default_rng([seed, part_index, index]), size)
            Image.fromarray(image).save(images / f"{index:04d}.png", compress_level=1)
            _mask(labels, layout).save(masks / f"{index:04d}{'_L' if layout == 'colors' else ''}.png")
    (out / "dataset.json").write_text(json.dumps(_description(layout)), encoding="utf-8")


def _folders(out: Path, part: str, layout: str) -> tuple[Path, Path]:
    if layout == "parts":
        return out / part / "images", out / part / "masks"
    return out / part, out / (f"{part}annot" if layout == "annot" else f"{part}_labels")


def _mask(labels: np.ndarray, layout: str) -> Image.Image:
    if layout == "colors":
        return Image.fromarray(COLORS[labels])
    return Image.fromarray(np.where(labels == VOID, 255 if layout == "parts" else VOID, labels).astype(np.uint8))


def _description(layout: str) -> dict[str, object]:
    if layout == "colors":
        colors = COLORS.tolist()
        classes = [{"name": name, "color": color} for name, color in zip(CLASSES, colors[:VOID], strict=True)]
        return {"classes": classes, "ignore_color": colors[VOID]}
    return {"classes": list(CLASSES), "ignore_id": 255 if layout == "parts" else VOID}


def main() -> None:
    """Write a data set from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--counts", type=int, nargs=3, default=(367, 101, 233))
    parser.add_argument("--size", default="360x480", help="height x width")
    parser.add_argument("--layout", choices=("parts", "annot", "colors"), default="parts")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    height, width = (int(part) for part in given.size.split("x"))
    write_scenes(given.out, counts=given.counts, size=(height, width), layout=given.layout, seed=given.seed)


if __name__ == "__main__":
    main()
