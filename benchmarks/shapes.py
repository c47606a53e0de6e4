"""Generated scenes for the networks of other tools: discs, boxes and wedges in colour on a noisy ground."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE, CLASSES = (64, 96), ("ground", "disc", "box", "wedge")


def shapes(count: int, seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (n, h, w, 3) of coloured shapes on a noisy ground, and their labels (n, h, w).

    The number of shapes grows with the area; their sizes stay.
    """
    random = np.random.default_rng(seed)
    height, width = size
    most = 1 + 3 * max(1, height * width // (SIZE[0] * SIZE[1]))
    images, masks = [], []
    for _ in range(count):
        ground = random.integers(60, 180, 3)
        picture = Image.new("RGB", (width, height), tuple(int(c) for c in ground))
        mask = Image.new("L", (width, height), 0)
        for _ in range(random.integers(most // 4, most)):
            kind, reach = int(random.integers(1, 4)), int(random.integers(8, 16))
            x, y = int(random.integers(reach, width - reach)), int(random.integers(reach, height - reach))
            color = tuple(
                int(c)
                for c in np.clip(random.normal((200, 90, 60)[kind - 1 :] + (200, 90, 60)[: kind - 1], 25), 0, 255)
            )
            corners = [(x - reach, y - reach), (x + reach, y + reach)]
            wedge = [(x, y - reach), (x + reach, y + reach), (x - reach, y + reach)]
            for target, fill in ((picture, color), (mask, kind)):
                pen = ImageDraw.Draw(target)
                if kind == 1:
                    pen.ellipse(corners, fill=fill)
                elif kind == 2:
                    pen.rectangle(corners, fill=fill)
                else:
                    pen.polygon(wedge, fill=fill)
        noise = random.normal(0, 12, (height, width, 3))
        images.append(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
        masks.append(np.asarray(mask))
    return np.stack(images), np.stack(masks)


def write_data(folder: Path, images: np.ndarray, labels: np.ndarray, *, count: int = len(CLASSES)) -> None:
    """Write a data set of `count` classes as segtool reads it; those beyond `CLASSES` occur nowhere."""
    for name, arrays in (("images", images), ("masks", labels)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(folder / name / f"{number:03}.png")
    names = (*CLASSES, *(f"unused {value}" for value in range(len(CLASSES), count)))
    facts = {"classes": [{"name": name, "value": value} for value, name in enumerate(names)]}
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1))
