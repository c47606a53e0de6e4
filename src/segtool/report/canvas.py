"""The page that every picture is drawn on: one look, pixel positions, no global state of matplotlib.

Figures are made with the object API and the Agg canvas, so neither a display nor ``pyplot`` is needed
and no figure outlives its call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool import files
from segtool.errors import DataError, MissingExtraError
from segtool.models.backend import no_files_at_home

DPI = 150
INK = "#1f2328"
MUTED = "#656d76"
RULE = "#d0d7de"
BLUE = "#1f6fb4"
ORANGE = "#d9730d"
GREEN = "#1a7f4b"

NOTE_SIZE = 8.5  # of the small lines under a title, in points
FONT = "DejaVu Sans"  # ships inside matplotlib, so pictures look the same on every machine
_MAX_PIXELS = 2**16 - 1  # Agg draws no longer side


def require_matplotlib() -> None:
    """Raise MissingExtraError with the line that installs matplotlib where it is missing."""
    try:
        with no_files_at_home():
            import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            'Pictures need matplotlib, which is not installed; run: pip install "segtool[report]"'
        ) from error


class Page:
    """A white picture on which positions and sizes are pixels, counted from the top left corner.

    Parameters
    ----------
    width, height
        Size of the picture in pixels.

    Raises
    ------
    DataError
        A side is longer than matplotlib can draw.
    MissingExtraError
        matplotlib is not installed.
    """

    def __init__(self, width: int, height: int) -> None:
        require_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        if max(width, height) > _MAX_PIXELS:
            raise DataError(
                f"The picture would be {width} x {height} pixels, at most {_MAX_PIXELS} a side can be drawn; "
                "plot fewer images or classes."
            )
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white", layout=None)
        FigureCanvasAgg(self.figure)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write `text` with its vertical middle at `y`; style: size (points), color, weight, ha, rotation."""
        from matplotlib.transforms import IdentityTransform

        defaults = {"size": 9, "color": INK, "ha": "left", "va": "center_baseline", "family": FONT}
        self.figure.text(
            x, self.height - y, text, transform=IdentityTransform(), parse_math=False, **{**defaults, **style}
        )

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """Draw a rectangle whose top left corner is at (x, y)."""
        from matplotlib.patches import Rectangle
        from matplotlib.transforms import IdentityTransform

        corner = (x, self.height - y - height)
        self.figure.add_artist(Rectangle(corner, width, height, transform=IdentityTransform(), **style))

    def swatch(self, x: float, y: float, size: float, color: tuple[int, int, int]) -> None:
        """Draw a small square of an (R, G, B) colour, 0..255, with its vertical middle at `y`."""
        face = tuple(value / 255 for value in color)
        self.box(x, y - size / 2, size, size, facecolor=face, edgecolor=RULE, linewidth=0.6)

    def image(self, x: int, y: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Put uint8 (h, w, 3) `pixels`, one to one, with their top left corner at (x, y), in a thin frame."""
        height, width = pixels.shape[:2]
        self.figure.figimage(pixels, x, self.height - y - height, origin="upper")
        self.box(x - 0.5, y - 0.5, width + 1, height + 1, facecolor="none", edgecolor=RULE, linewidth=0.6)

    def axes(self, x: float, y: float, width: float, height: float) -> Any:
        """Return quiet axes over the rectangle whose top left corner is at (x, y)."""
        rectangle = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(rectangle)
        axes.tick_params(labelsize=8.5, labelcolor=MUTED, color=RULE, length=3, labelfontfamily=FONT)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(RULE)
        return axes

    def save(self, path: str | Path) -> None:
        """Write the picture as PNG to `path`, atomically; errors as in `files.atomic_path`."""
        files.write_with(path, lambda place: self.figure.savefig(place, format="png", dpi=DPI, facecolor="white"))


def write_header(page: Page, *, left: float, top: float, title: str, notes: Sequence[str]) -> float:
    """Write a bold title and small notes under it; return the height in pixels that they take."""
    page.text(left, top + 16, shorten(drawable(title), 15, page.width - 2 * left, "bold"), size=15, weight="bold")
    for index, note in enumerate(notes):
        page.text(left, top + 56 + 24 * index, note, size=NOTE_SIZE, color=MUTED)
    return header_height(notes)


def header_height(notes: Sequence[str]) -> int:
    """Return the height in pixels that `write_header` takes."""
    return 44 + 24 * len(notes) + 12


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of `text` in pixels at `size` points."""
    require_matplotlib()
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=FONT, size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * DPI / 72


def shorten(text: str, size: float, limit: float, weight: str = "normal") -> str:
    """Return `text`, cut with an ellipsis where it is wider than `limit` pixels at `size` points."""
    if text_width(text, size, weight) <= limit:
        return text
    while text and text_width(text + "…", size, weight) > limit:
        text = text[:-1]
    return text.rstrip() + "…"


def drawable(text: str, fallback: str | None = None) -> str:
    """Return `text` on one line, or `fallback` where the font lacks a character of it.

    Without a fallback each character that the font lacks becomes a question mark.
    """
    require_matplotlib()
    from matplotlib.font_manager import findfont, get_font

    text = " ".join(text.split())
    known = get_font(findfont(FONT)).get_charmap()
    if fallback is None:
        return "".join(character if ord(character) in known else "?" for character in text)
    return text if text and all(ord(character) in known for character in text) else fallback


def drawable_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the classes as they can be drawn; "class 3" for one that the font cannot write."""
    return tuple(drawable(str(name), f"class {index}") for index, name in enumerate(class_names))
