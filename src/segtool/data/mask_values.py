"""What values the masks of a data set hold, and whether those are classes: soft edges and two codes of one class."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from segtool.array_types import AnyArray, Int64Array
from segtool.data.classes import Classes, Encoding
from segtool.data.inferred_classes import BINARY_CLASSES, BINARY_MAXIMA
from segtool.data.metadata import Metadata
from segtool.errors import DataError
from segtool.images.arrays import count_bytes
from segtool.text import counted

logger = logging.getLogger(__name__)
Color = tuple[int, int, int]
LEAST_SPAN = 16
"""Between the lowest and the highest value of soft masks; mixtures of ids that are closer cannot be recognised."""
_FLAT = 0.5  # of a value's pixels that lie in a flat area, from which on it is a class and no mixture of two
_MIXED = 0.5  # of a value's pixels that lie between their neighbours, from which on it is a mixture of two classes
_MOSTLY = 0.5  # of the values that are no class must be mixtures: small objects of many classes touch each other too
_LEAST_SOFT = 3  # values: fewer may be classes that are thin everywhere
_LEAST_BLURRED = 8  # the same where only one value is flat
_MANY, _LEAST_FLAT = 64, 0.25
"""Masks of so many values, of which fewer pixels lie in flat areas, are pictures: those of label maps nearly all do."""
_BAND = 40  # how far from 0 and from the maximum a lossy format moves the values of a binary mask
_NEAR = 12  # values: a blur ends in bands of these beside the class that it comes from
_MOST_IN_A_SET = 4  # values: masks with more of them are no binary masks
_MOST_SHOWN = 6


class SoftMasksError(DataError):
    """Masks that hold mixtures of their classes, as interpolation and lossy formats make them, or no classes at all."""


class MaskValues:
    """What the masks of a data set hold, gathered one mask at a time."""

    def __init__(self) -> None:
        self.first: dict[int, str] = {}  # each value, with the name of the first mask that holds it
        self.pixels: Counter[int] = Counter()  # of each value
        self.flat: Counter[int] = Counter()  # those of them that have the same value to the right and below
        self.between: Counter[int] = Counter()  # those between the lowest and the highest of their eight neighbours
        self.sets: Counter[frozenset[int]] = Counter()  # masks that hold exactly these values, for sets of a few
        self.colors: dict[int, dict[Color, Path]] = {}  # of each value in palette files, each with its first mask

    @property
    def values(self) -> Int64Array:
        """The distinct values, sorted."""
        return np.array(sorted(self.first), np.int64)

    def add(self, mask: AnyArray, name: str) -> None:
        """Add a mask: integers (H, W)."""
        held = _counts(mask)
        if len(held) > 2 and max(held) - min(held) >= LEAST_SPAN:
            body = mask[:-1, :-1]
            self.flat.update(_counts(body[(body == mask[1:, :-1]) & (body == mask[:-1, 1:])]))
            self.between.update(_counts(_between_neighbours(mask)))
        else:
            self.flat.update(held)  # no room for mixtures
        self.pixels.update(held)
        if len(held) <= _MOST_IN_A_SET:
            self.sets[frozenset(held)] += 1
        for value in held:
            self.first.setdefault(value, name)

    def refuse_soft(self, *, source: str, files: str = "") -> None:
        """Raise a SoftMasksError for masks whose values are mostly mixtures of a few others, or that are pictures.

        A class covers areas, so that most of its pixels have neighbours of the same value. A mixture that interpolation
        made lies on an edge between two classes, and its neighbours are other mixtures.

        `source` names the data set. `files` are the masks as a pattern for a shell, for the line that thresholds binary
        ones; empty for arrays.
        """
        self._refuse_pictures(source)
        levels = self._levels()
        if levels is None:
            return
        few = len(levels) <= 2
        share = 1 - sum(self.pixels[level] for level in levels) / self.pixels.total()
        advice = (
            f"two values; threshold the masks in the middle{_threshold((levels[0] + levels[-1]) // 2, files)}"
            if few
            else "one value for each class; make the masks again from their source, and resize them with the nearest "
            "neighbour only (Image.Resampling.NEAREST in Pillow, INTER_NEAREST in OpenCV)"
        )
        raise SoftMasksError(
            f"{source} has {'binary ' if few else ''}masks with soft edges: {share:.1%} of their pixels hold "
            f"{len(self.first) - len(levels)} values between {_shown(levels)}, as resizing with interpolation, "
            f"anti-aliasing or a lossy format leaves them, expected {advice}; if these values are classes, name them "
            "in a dataset.json."
        )

    def _refuse_pictures(self, source: str) -> None:
        """Raise a SoftMasksError for masks of many values without areas: photographs, or noise."""
        share = self.flat.total() / max(1, self.pixels.total())
        if len(self.first) >= _MANY and share < _LEAST_FLAT:
            raise SoftMasksError(
                f"{source} has masks that look like photographs or noise: {len(self.first)} values, and {share:.1%} of "
                "the pixels have the value of the pixels to the right and below, expected areas of few values; look "
                "whether these files are the masks. If these values are classes, name them in a dataset.json."
            )

    def mixed_binary(self, assumed: Classes | None, *, source: str) -> Metadata | None:
        """Return the description of binary masks that write the foreground in two or more ways; else None.

        Some hold 0 and 1 and others 0 and 255 (or 65535). A mask that holds 1 and 255 at once shows that these are two
        things: a class, and what is ignored. So do the classes `assumed` where they ignore one of these values.
        """
        ones = [value for value in (1, *BINARY_MAXIMA) if value in self.first]
        if len(ones) < 2 or set(self.first) - {0, *ones} or any(len(held & set(ones)) > 1 for held in self.sets):
            return None
        if assumed is not None and (assumed.ignore_id in ones or len(assumed.names) > 2):
            return None
        counts = [(value, sum(count for held, count in self.sets.items() if value in held)) for value in ones]
        logger.warning(
            "The masks of %s are binary and write the foreground in different ways (%s, and none with both): these are "
            "read as one class; a dataset.json can say otherwise.",
            source,
            ", ".join(f"{counted(count, 'mask')} with {value}" for value, count in counts),
        )
        return Metadata(BINARY_CLASSES, Encoding.of({0: 0, **dict.fromkeys(ones, 1)}))

    def _levels(self) -> list[int] | None:
        """Return the values that the masks had before they were softened; None where they are not soft."""
        values = sorted(self.first)
        if len(values) <= _LEAST_SOFT or values[-1] - values[0] < LEAST_SPAN:
            return None
        flat = [value for value in values if self.flat[value] >= _FLAT * self.pixels[value]]
        if _is_two_bands(values) and len(flat) < len(values) - 1:
            return [values[0], values[-1]]
        levels = self._without_neighbours(flat)
        least = max(_LEAST_SOFT, len(levels) + 1)
        if len(levels) == 1:
            # A blurred shape may keep no flat area of its own: its outermost value is then nearest to what it was.
            levels = sorted({levels[0], values[0] if levels[0] > (values[0] + values[-1]) / 2 else values[-1]})
            least = _LEAST_BLURRED
        others = [value for value in values if value not in flat]
        mixtures = [value for value in others if self.between[value] >= _MIXED * self.pixels[value]]
        inside = [value for value in mixtures if levels[0] < value < levels[-1]] if levels else []
        return levels if len(inside) >= max(least, _MOSTLY * len(others)) else None

    def _without_neighbours(self, levels: list[int]) -> list[int]:
        """Return the levels without those that lie near one of more pixels."""
        kept: list[int] = []
        for level in sorted(levels, key=lambda value: -self.pixels[value]):
            if all(abs(level - other) > _NEAR for other in kept):
                kept.append(level)
        return sorted(kept)


def _threshold(middle: int, files: str) -> str:
    """Return how to make binary masks of soft ones."""
    if not files:
        return f", such as labels > {middle}"
    away = "" if files.endswith(".png") else ", and move the others away"
    return (
        ' (keep a copy): python -c "import sys, os, numpy as np; from PIL import Image; [Image.fromarray((255 * '
        f"(np.array(Image.open(name)) > {middle})).astype('u1')).save(os.path.splitext(name)[0] + '.png') for name in "
        f'sys.argv[1:]]" {files}{away}'
    )


def _is_two_bands(values: list[int]) -> bool:
    """Return whether the values lie near 0 and near the maximum alone, as those of a binary mask that was a JPEG."""
    low = [value for value in values if value <= _BAND]
    high = [value for value in values if BINARY_MAXIMA[0] - _BAND <= value <= BINARY_MAXIMA[0]]
    return len(low) + len(high) == len(values) and len(low) >= 2 and len(high) >= _LEAST_SOFT


def _between_neighbours(mask: AnyArray) -> AnyArray:
    """Return the pixels of a mask (H, W), without its border, that lie between two of their eight neighbours."""
    if min(mask.shape) < 3:
        return mask[:0, :0]
    low, high = mask, mask
    for _ in range(2):  # along the columns, then along the rows
        low = np.minimum(np.minimum(low[:-2], low[1:-1]), low[2:]).T
        high = np.maximum(np.maximum(high[:-2], high[1:-1]), high[2:]).T
    body = mask[1:-1, 1:-1]
    inside: AnyArray = body[(body > low) & (body < high)]
    return inside


def _counts(values: AnyArray) -> dict[int, int]:
    """Return how often each value occurs."""
    if values.dtype == np.uint8:
        return {value: count for value, count in enumerate(count_bytes(values).tolist()) if count}
    found, numbers = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def _shown(levels: list[int]) -> str:
    last = f"{len(levels) - _MOST_SHOWN} more" if len(levels) > _MOST_SHOWN else str(levels[-1])
    return f"{', '.join(map(str, levels[: min(_MOST_SHOWN, len(levels) - 1)]))} and {last}"
