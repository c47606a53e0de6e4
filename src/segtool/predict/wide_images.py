"""The warning of a run whose 16-bit images use a small part of their range."""

from __future__ import annotations

import logging

from segtool.images.pixels import range_used, sensor_bits
from segtool.predict.manifest import Entry
from segtool.text import counted

logger = logging.getLogger(__name__)


class WideImages:
    """The 16-bit images of a run: their number, and the largest value in any of them."""

    def __init__(self) -> None:
        self._count = self._largest = 0

    def add(self, entry: Entry) -> None:
        """Count an image, if it has 16 bits."""
        if entry.largest_value is not None:
            self._count += 1
            self._largest = max(self._largest, entry.largest_value)

    def warn(self) -> None:
        """Warn if all of them use a small part of the range, as `data check` does."""
        bits = sensor_bits(self._largest)
        if self._count and bits is not None:
            logger.warning(
                "%s of 16 bits %s %s of the range: the largest value is %d, as in data of %d bits, so the model saw %d "
                "of 256 levels. This is right only if it was trained on such files; otherwise scale them to 0..65535. "
                "`segtool data check` on a folder with images and masks prints the command.",
                counted(self._count, "image"),
                "uses" if self._count == 1 else "use",
                range_used(bits),
                self._largest,
                bits,
                self._largest // 257 + 1,
            )
