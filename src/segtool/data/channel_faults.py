"""Masks that are in the alpha channel, images whose alpha is no transparency, and images that use few of 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segtool.array_types import AnyArray
from segtool.data.problem import Problem
from segtool.data.sample_headers import Pair, files_like, grouped, has_or_have
from segtool.errors import DataError
from segtool.images.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.images.image_io import read_mask_pixels
from segtool.text import counted

_MOST_LOOKED_AT = 16
"""Images that are decoded to find their range or what their alpha is, spread evenly over those that may have it."""
_SENSOR_BITS = (8, 10, 12, 14)
"""Bits of cameras and scanners that write 16-bit files; images that use no more than the most of these are named."""
_TRANSLUCENT = 0.2
"""Share of translucent pixels from which on alpha is taken for a fourth band: a cut-out has them at its edge alone."""


def masks_in_alpha(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name masks whose colour is the same everywhere, so that their classes can only be in the alpha channel."""
    group: list[Pair] = []
    for pair in pairs:
        if not pair.mask.alpha:
            continue
        try:
            mask = read_mask_pixels(pair.sample.mask)
        except DataError:
            continue  # named where the mask is read
        height, width = mask.values.shape[:2]
        if np.ptp(mask.values.reshape(height * width, -1), axis=0).any():
            return None
        if mask.alpha is not None and np.ptp(mask.alpha):
            group.append(pair)
    if not group:
        return None
    return grouped(
        "alpha",
        group,
        f"{counted(len(group), 'mask')} of {folder} {has_or_have(group)} one colour everywhere and differ only in the "
        f"alpha channel, which is not read; the first is {group[0].sample.mask}; expected the classes as values or "
        'colours. Write the alpha channel as the mask (keep a copy): python -c "import sys; from PIL import Image; '
        "[Image.open(name).getchannel('A').save(name) for name in sys.argv[1:]]\" "
        f"{files_like([pair.sample.mask for pair in group])}.",
    )


def bands_in_alpha(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name images whose alpha channel darkens them as no transparency does: a fourth band, or nothing opaque."""
    group = [pair for pair in _some([pair for pair in pairs if pair.image.alpha]) if _is_band(pair.sample.image)]
    if not group:
        return None
    return grouped(
        "alpha",
        group,
        f"{counted(len(group), 'image')} of {folder} {has_or_have(group)} an alpha channel that looks like a band or "
        f"like nothing opaque; the first is {group[0].sample.image}. Pixels are composited over black by their alpha, "
        'here and in predict. Where it is no transparency, take it off (keep a copy): python -c "import sys; from PIL '
        "import Image; [image.convert('L' if image.mode == 'LA' else 'RGB').save(name) for name in sys.argv[1:] for "
        f'image in [Image.open(name)]]" {files_like([pair.sample.image for pair in group])}.',
        warning=True,
    )


def small_range(folder: Path, pairs: Sequence[Pair]) -> Problem | None:
    """Name images of 16 bits whose largest value is far from 65535, as those of 10, 12 and 14 bits are."""
    wide = [pair for pair in pairs if pair.image.wide]
    if not wide:
        return None
    looked_at = _some(wide)
    largest = max(_largest_value(pair.sample.image) for pair in looked_at)
    bits = next((bits for bits in _SENSOR_BITS if largest < 1 << bits), None)
    if bits is None:
        return None
    top = (1 << bits) - 1
    share = 100 * top / 65535
    return grouped(
        "range",
        wide,
        f"The 16-bit images of {folder} use {share:.{share < 1:d}f} % of their range: the largest value in "
        f"{counted(len(looked_at), 'image')} of {len(wide)} is {largest}, as in data of {bits} bits (0..{top}), "
        f"expected values up to 65535; the network would see {largest // 257 + 1} of 256 levels. Scale the files (keep "
        'a copy), and those that are predicted later, by the same factor: python -c "import sys, numpy as np; from '
        "PIL import Image; [Image.fromarray((np.array(Image.open(name)).astype('u4') * 65535 // "
        f"{top}).clip(0, 65535).astype('u2')).save(name) for name in sys.argv[1:]]\" "
        f"{files_like([pair.sample.image for pair in wide])}.",
        warning=True,
    )


def _some(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the samples that are looked at: the same ones in every command."""
    if not pairs:
        return []
    return [pairs[index] for index in np.unique(np.linspace(0, len(pairs) - 1, _MOST_LOOKED_AT).astype(int))]


def _is_band(path: Path) -> bool:
    alpha = _decoded(path, "A")
    if alpha is None:
        return False
    translucent = ((alpha > 0) & (alpha < 255)).mean()
    return bool(alpha.max() < 255 or translucent >= _TRANSLUCENT)


def _largest_value(path: Path) -> int:
    """Return the largest pixel value of an image of 16 bits; the largest there is where it cannot be read."""
    values = _decoded(path)
    if values is None:
        return 65535
    # Of 16-bit colour Pillow gives the upper 8 bits.
    return int(values.max()) * 257 if values.dtype == np.uint8 else int(values.max())


def _decoded(path: Path, channel: str | None = None) -> AnyArray | None:
    """Return an image's pixels, or one channel of them, as Pillow has them; None where they cannot be read."""
    try:
        with opened(path) as stream, decoding(str(path)):
            image: Image.Image = open_checked(stream, str(path), MAX_PIXELS)
            return np.array(image if channel is None else image.getchannel(channel))
    except DataError:
        return None  # named where the image is read
