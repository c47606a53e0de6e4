"""The legend below an overlay: colour, id, name and percentage of the pixels of each class that occurs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segtool.array_types import IntegerArray, UInt8Array
from segtool.images.arrays import count_labels
from segtool.text import percent

INK = (240, 240, 240)
PAPER = (28, 28, 28)
"""The background of the legend, also beside an image that is narrower."""
_LONGEST_NAME = 32
_FONT_PIXELS = range(12, 161)
_LETTERS_A_LINE = 70

_Color = tuple[int, int, int]


@dataclass(frozen=True)
class Key:
    """A line of the legend: the text, and the colour before it; None for unchanged pixels."""

    text: str
    color: _Color | None


def legend_keys(
    labels: IntegerArray, names: Sequence[str], palette: Sequence[_Color], background_id: int | None
) -> list[Key]:
    """Return the lines of the legend of labels (H, W), one for each class that occurs, in the order of the ids."""
    counts = count_labels(labels, len(names))
    return [
        Key(
            f"{class_title(index, names[index])}: {_percent(count / labels.size)}",
            None if index == background_id else palette[index],
        )
        for index, count in enumerate(counts.tolist())
        if count
    ]


def class_title(index: int, name: str) -> str:
    """Return the title of a class, with the id, because the font may not have the letters of the name."""
    if name == str(index):
        return name
    return f"{index} {name}" if len(name) <= _LONGEST_NAME else f"{index} {name[: _LONGEST_NAME - 1]}…"


class Legend:
    """The layout of a legend for a picture of a size (height, width).

    The letters grow with the picture, also with its height: a tall picture is shown smaller on a screen.

    Attributes
    ----------
    width, height
        Its size in pixels; wider than the picture if a line needs it.
    font, line_height, gap
        The letters, the height of a line with the gap below it, and the gap between lines, in pixels.
    """

    def __init__(self, keys: Sequence[Key], size: tuple[int, ...]) -> None:
        height, width = size
        side = max(width, 2 * height // 3)
        self.font = _font(min(max(side // _LETTERS_A_LINE, _FONT_PIXELS[0]), _FONT_PIXELS[-1]))
        probe = ImageDraw.Draw(Image.new("L", (1, 1)))
        box = probe.textbbox((0, 0), "gÅ8", font=self.font)
        self._size = int(box[3])
        self.gap = self._size // 2
        longest = max((probe.textlength(key.text, font=self.font) for key in keys), default=0)
        self._column = self._size + int(longest) + 3 * self.gap
        self.width = max(width, self._column + self.gap)
        self._columns = (self.width - self.gap) // self._column
        self._lines = [keys[first : first + self._columns] for first in range(0, len(keys), self._columns)]
        self.line_height = self._size + self.gap
        self.height = len(self._lines) * self.line_height + self.gap

    def bands(self) -> Iterator[UInt8Array]:
        """Yield its rows, uint8 (n, width, 3), line by line of the text."""
        yield np.full((self.gap, self.width, 3), PAPER, np.uint8)
        for line in self._lines:
            picture = Image.new("RGB", (self.width, self.line_height), PAPER)
            draw = ImageDraw.Draw(picture)
            for place, key in enumerate(line):
                self._draw(draw, key, self.gap + place * self._column)
            yield np.asarray(picture)

    def _draw(self, draw: ImageDraw.ImageDraw, key: Key, left: int) -> None:
        end = self._size - 1
        draw.rectangle((left, 0, left + end, end), fill=key.color, outline=INK)
        draw.text((left + self._size + self.gap, 0), key.text, fill=INK, font=self.font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow; it has only one size if Pillow was built without FreeType."""
    try:
        return ImageFont.load_default(size)
    except ImportError:
        return ImageFont.load_default()


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{percent(share, 1)} %"
