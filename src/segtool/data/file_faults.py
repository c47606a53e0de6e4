"""What is wrong with how the images and masks of a folder hold their pixels; every command finds it here."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from segtool.data.header_faults import (
    Headers,
    SampleHeaders,
    group_problem,
    have,
    orientation_problem,
    pages_problem,
    size_problems,
)
from segtool.data.mask_files import survey_masks
from segtool.data.mask_values import LEAST_SPAN, SoftMasksError
from segtool.data.problem import Problem, files_like, these
from segtool.errors import DataError
from segtool.images.decoding import MAX_PIXELS, decoding, open_checked, opened
from segtool.images.image_io import read_mask_pixels, read_pixels
from segtool.images.pixels import range_used, sensor_bits
from segtool.text import counted

_MOST_LOOKED_AT = 16  # images that are decoded for their range or alpha, spread evenly over those that may have it
_TRANSLUCENT = 0.2  # of the pixels, from which on alpha is a fourth band: a cut-out has them at its edge alone


def file_problems(folder: Path, samples: Headers) -> list[Problem]:
    """Return what is wrong with the files of a folder, whatever their classes are: one problem for each cause.

    Found are: masks of another size than their image; masks in a format that changed their values; an orientation that
    an image has and its mask lacks, or the other way round; files of several pages; masks whose alpha channel alone
    varies; images whose alpha channel is no transparency, and images of 16 bits that use a small part of their range
    (from 16 images each). Sizes, orientations and pages are found from the headers.
    """
    finders = (_lossy, orientation_problem, pages_problem, _masks_in_alpha, _bands_in_alpha, _small_range)
    found = (find(folder, samples) for find in finders)
    return [*size_problems(samples), *(problem for problem in found if problem is not None)]


def _lossy(folder: Path, samples: Headers) -> Problem | None:
    """Name masks in a format that changes pixel values, so that ids are lost and others invented.

    Values that are far apart, with none between, show that nothing was changed in these.
    """
    group = [one for one in samples if one.mask.lossy]
    if not group:
        return None
    masks = [one.sample.mask for one in group]
    try:
        held = survey_masks(masks)
        held.refuse_soft(source=str(folder), files=files_like(masks))
        if (np.diff(held.values) >= LEAST_SPAN).all():
            return None
    except SoftMasksError as error:
        return group_problem("values", group, str(error))  # says how to bring the classes back
    except DataError:
        pass  # in colour, or named where it is read
    names = " or ".join(sorted({one.mask.lossy for one in group}))
    return group_problem(
        "lossy",
        group,
        f"{these('mask', masks, 'is')} in a lossy format ({names}), which changes pixel values, so that ids are lost "
        "and others invented, expected PNG; write the masks as PNG from what they were made of, converting these files "
        "does not bring the ids back.",
    )


def _masks_in_alpha(folder: Path, samples: Headers) -> Problem | None:
    """Name masks whose colour is the same everywhere, so that their classes can only be in the alpha channel."""
    group: list[SampleHeaders] = []
    for one in samples:
        if not one.mask.alpha:
            continue
        try:
            mask = read_mask_pixels(one.sample.mask)
        except DataError:
            continue  # named where the mask is read
        height, width = mask.values.shape[:2]
        if np.ptp(mask.values.reshape(height * width, -1), axis=0).any():
            return None
        if mask.alpha is not None and np.ptp(mask.alpha):
            group.append(one)
    if not group:
        return None
    return group_problem(
        "alpha",
        group,
        f"{have(group, 'mask', folder)} one colour everywhere and differ only in the alpha channel, which is not "
        f"read; the first is {group[0].sample.mask}; expected the classes as values or colours. Write the alpha "
        'channel as the mask (keep a copy): python -c "import sys; from PIL import Image; '
        "[Image.open(name).getchannel('A').save(name) for name in sys.argv[1:]]\" "
        f"{files_like([one.sample.mask for one in group])}.",
    )


def _bands_in_alpha(folder: Path, samples: Headers) -> Problem | None:
    """Name images whose alpha channel darkens them as no transparency does: a fourth band, or nothing opaque."""
    group = [one for one in _some([one for one in samples if one.image.alpha]) if _is_band(one.sample.image)]
    if not group:
        return None
    return group_problem(
        "alpha",
        group,
        f"{have(group, 'image', folder)} an alpha channel that looks like a band or like nothing opaque; the first is "
        f"{group[0].sample.image}. Pixels are composited over black by their alpha, here and in predict. Where it is "
        'no transparency, take it off (keep a copy): python -c "import sys; from PIL import Image; '
        "[image.convert('L' if image.mode == 'LA' else 'RGB').save(name) for name in sys.argv[1:] for image in "
        f'[Image.open(name)]]" {files_like([one.sample.image for one in group])}.',
        warning=True,
    )


def _small_range(folder: Path, samples: Headers) -> Problem | None:
    """Name images of 16 bits whose largest value is far from 65535, as those of 10, 12 and 14 bits are."""
    wide = [one for one in samples if one.image.wide]
    looked_at = _some(wide)
    largest = max((_largest_value(one.sample.image) for one in looked_at), default=65535)
    bits = sensor_bits(largest)
    if bits is None:
        return None
    top = (1 << bits) - 1
    return group_problem(
        "range",
        wide,
        f"The 16-bit images of {folder} use {range_used(bits)} of their range: the largest value in "
        f"{counted(len(looked_at), 'image')} of {len(wide)} is {largest}, as in data of {bits} bits (0..{top}), "
        f"expected values up to 65535; the network would see {largest // 257 + 1} of 256 levels. Scale the files (keep "
        'a copy), and those that are predicted later, by the same factor: python -c "import sys, numpy as np; from '
        "PIL import Image; [Image.fromarray((np.array(Image.open(name)).astype('u4') * 65535 // "
        f"{top}).clip(0, 65535).astype('u2')).save(name) for name in sys.argv[1:]]\" "
        f"{files_like([one.sample.image for one in wide])}.",
        warning=True,
    )


def _some(samples: Headers) -> list[SampleHeaders]:
    """Return the samples that are looked at: the same ones in every command."""
    if not samples:
        return []
    return [samples[index] for index in np.unique(np.linspace(0, len(samples) - 1, _MOST_LOOKED_AT).astype(int))]


def _is_band(path: Path) -> bool:
    try:
        with opened(path) as stream, decoding(str(path)):
            alpha = np.array(open_checked(stream, str(path), MAX_PIXELS).getchannel("A"))
    except DataError:
        return False  # named where the image is read
    translucent = ((alpha > 0) & (alpha < 255)).mean()
    return bool(alpha.max() < 255 or translucent >= _TRANSLUCENT)


def _largest_value(path: Path) -> int:
    """Return the largest pixel value of an image of 16 bits; the largest there is where it cannot be read."""
    with suppress(DataError):  # named where the image is read
        return read_pixels(path, channels=3).largest_value or 0
    return 65535
