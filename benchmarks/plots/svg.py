"""A small chart in SVG: axes, lines, points and labels. Every machine writes the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, MUTED, RULE = "#1f2328", "#656d76", "#d8dee4"
COLORS = ("#1f6fb4", "#d9730d", "#1a7f4b", "#8250df", "#b42318", "#57606a")
LEFT, RIGHT, TOP, BOTTOM = 66, 20, 46, 50

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A range, whether it is logarithmic, where its ticks are and what they are called."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False
    suffix: str = ""

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at `low` and 1 at `high`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


class Chart:
    """One pair of axes; everything is given in their units.

    Parameters
    ----------
    title, description
        Heading, and what a reader who sees no picture is told.
    x, y
        The axes.
    width, height
        In pixels.
    """

    def __init__(self, title: str, description: str, x: Axis, y: Axis, *, width: int = 720, height: int = 420) -> None:
        self.x, self.y = x, y
        self._width, self._height = width, height
        self._parts = [
            f"<title>{escape(title)}</title><desc>{escape(description)}</desc>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            _text(LEFT, 26, title, size=15, font_weight="bold"),
        ]
        self._draw_axes()

    def line(self, points: Sequence[Point], *, color: str, dash: str = "") -> None:
        """Join points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self._at, points))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>')

    def dot(self, point: Point, *, color: str, size: float = 5) -> None:
        """Draw a point."""
        x, y = self._at(point)
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{color}"/>')

    def whisker(self, start: Point, end: Point, *, color: str) -> None:
        """Draw a thin line, such as that of an interval."""
        (x1, y1), (x2, y2) = self._at(start), self._at(end)
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="1.2"/>'
        )

    def label(self, point: Point, text: str, *, dx: float = 9, dy: float = 4, **style: str) -> None:
        """Write beside a point; style: `color`, `anchor`."""
        x, y = self._at(point)
        self._parts.append(_text(x + dx, y + dy, text, size=12, **style))

    def legend(self, entries: Sequence[tuple[str, str, str]]) -> None:
        """List (name, color, dash) in the upper left corner."""
        for index, (name, color, dash) in enumerate(entries):
            y = TOP + 16 + 18 * index
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            self._parts.append(
                f'<line x1="{LEFT + 12}" y1="{y}" x2="{LEFT + 36}" y2="{y}" stroke="{color}" stroke-width="2"{dashes}/>'
            )
            self._parts.append(_text(LEFT + 42, y + 4, name, size=12))

    def text(self) -> str:
        """Return the file's content."""
        return wrap([*self._parts], self._width, self._height)

    def body(self) -> str:
        """Return what is inside the file's frame, to be put beside another chart."""
        return "\n".join(self._parts)

    def _at(self, point: Point) -> Point:
        across, up = self._width - LEFT - RIGHT, self._height - TOP - BOTTOM
        return LEFT + across * self.x.share(point[0]), self._height - BOTTOM - up * self.y.share(point[1])

    def _draw_axes(self) -> None:
        bottom = self._height - BOTTOM
        for value in self.y.ticks:
            _, y = self._at((self.x.low, value))
            self._parts.append(
                f'<line x1="{LEFT}" y1="{y:.1f}" x2="{self._width - RIGHT}" y2="{y:.1f}" stroke="{RULE}"/>'
            )
            self._parts.append(_text(LEFT - 8, y + 4, f"{value:g}{self.y.suffix}", size=11, color=MUTED, anchor="end"))
        for value in self.x.ticks:
            x, _ = self._at((value, self.y.low))
            self._parts.append(f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="{MUTED}"/>')
            self._parts.append(
                _text(x, bottom + 19, f"{value:g}{self.x.suffix}", size=11, color=MUTED, anchor="middle")
            )
        self._parts.append(
            f'<line x1="{LEFT}" y1="{bottom}" x2="{self._width - RIGHT}" y2="{bottom}" stroke="{MUTED}"/>'
        )
        middle = (LEFT + self._width - RIGHT) / 2
        self._parts.append(_text(middle, self._height - 12, self.x.label, size=12, color=MUTED, anchor="middle"))
        turned = f"rotate(-90 16 {(TOP + bottom) / 2:.1f})"
        self._parts.append(
            _text(16, (TOP + bottom) / 2, self.y.label, size=12, color=MUTED, anchor="middle", transform=turned)
        )


def wrap(parts: Sequence[str], width: int, height: int) -> str:
    """Return an SVG file with this content."""
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    style = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" role=\"img\""
    return "\n".join([f"{frame} {style}>", *parts, "</svg>", ""])


def stacked(charts: Sequence[Chart], *, width: int, height: int) -> str:
    """Return charts of one size, one below the other, as one file."""
    parts = [f'<g transform="translate(0 {height * index})">\n{each.body()}\n</g>' for index, each in enumerate(charts)]
    return wrap(parts, width, height * len(charts))


def _text(x: float, y: float, text: str, *, size: int, color: str = INK, anchor: str = "start", **more: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{attributes}>'
        f"{escape(text)}</text>"
    )
