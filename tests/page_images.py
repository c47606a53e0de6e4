"""Ten images in the formats that a browser and segtool both read, of several sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path, digits: np.ndarray) -> None:
    """Write ten image files; `digits` are grey images, uint8 (N, H, W), which some of them show."""
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: to be rotated by 90 degrees
    grey = [Image.fromarray(each) for each in digits]
    color = Image.fromarray(_scene(211, 340))
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (128, 1)))
    large = grey[1].resize((253, 190), Image.Resampling.BICUBIC)
    grey[0].save(folder / "a-grey.png")
    large.save(folder / "b-larger.png")
    color.save(folder / "c-rgb.png")
    Image.merge("RGBA", [*color.resize((256, 128)).split(), ramp]).save(folder / "d-alpha.png")
    Image.merge("LA", [large.resize((256, 128)), ramp]).save(folder / "e-grey-alpha.png")
    color.save(folder / "f-photo.jpg", quality=85)
    color.resize((150, 90)).save(folder / "g-turned.jpg", exif=turned, quality=92, subsampling=0)
    color.quantize(60).save(folder / "h-palette.gif")
    color.resize((61, 47)).save(folder / "i-small.webp", lossless=True)
    grey[2].convert("RGB").save(folder / "j-color.bmp")


def _scene(height: int, width: int) -> np.ndarray:
    """Return smooth waves with noise, uint8 (height, width, 3)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 110 * np.sin(x / (13 + channel) + channel) * np.cos(y / (11 + channel)) for channel in range(3)]
    noisy = np.stack(waves, axis=-1) + rng.normal(0, 8, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
