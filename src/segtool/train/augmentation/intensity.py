"""Changes of pixel values: brightness, contrast, saturation, noise. Unknown pixels stay 0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from segtool.train.augmentation.samples import Samples


def brightness(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Multiply the pixels of each image by a factor drawn uniformly from [1 - strength, 1 + strength]."""
    return _with_pixels(samples, samples.images * _factors(samples, strength, rng))


def contrast(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Change the contrast of each image about its mean.

    The distance of each pixel from the mean is multiplied by a factor from [1 - strength, 1 + strength].
    """
    mean = samples.images.mean((1, 2, 3), dtype=np.float32, keepdims=True)
    return _with_pixels(samples, mean + (samples.images - mean) * _factors(samples, strength, rng))


def saturation(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Change the saturation of each RGB image; grey images stay as they are.

    The distance of each pixel's channels from their mean is multiplied by a factor from [1 - strength, 1 + strength].
    """
    grey = samples.images.mean(-1, dtype=np.float32, keepdims=True)
    return _with_pixels(samples, grey + (samples.images - grey) * _factors(samples, strength, rng))


def noise(samples: Samples, strength: float, rng: np.random.Generator) -> Samples:
    """Add Gaussian noise to each pixel; the standard deviation of each image is drawn from [0, strength]."""
    deviation = rng.uniform(0, strength, (len(samples.images), 1, 1, 1)).astype(np.float32)
    drawn = rng.standard_normal(samples.images.shape, np.float32)
    return _with_pixels(samples, samples.images + deviation * drawn)


def _factors(samples: Samples, strength: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return rng.uniform(1 - strength, 1 + strength, (len(samples.images), 1, 1, 1)).astype(np.float32)


def _with_pixels(samples: Samples, pixels: npt.NDArray[np.floating]) -> Samples:
    rounded = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return replace(samples, images=np.where(samples.known[..., None], rounded, np.uint8(0)))
