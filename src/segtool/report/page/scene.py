"""A drawing as shapes and words in the colours of the page, written as SVG; `raster` writes the same as PNG.

Colours are roles, not values: inside the page its style gives them, light or dark; a file on its own brings them along.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from segtool.report.page.markup import Html, tag

# Distinct for the common kinds of colour blindness (after Okabe and Ito) and at least 4.5 : 1 on the page's ground.
LIGHT = {
    "paper": "#fcfcfa", "ink": "#1c1e21", "muted": "#5b6168", "rule": "#dcdad3",
    "s0": "#0b66b5", "s1": "#b84a06", "s2": "#00735a", "s3": "#9a3f82", "s4": "#7a5d00", "s5": "#4b5560",
}  # fmt: skip
DARK = {
    "paper": "#14161a", "ink": "#e6e7e9", "muted": "#a3a9b1", "rule": "#343940",
    "s0": "#6bb3f2", "s1": "#f2965a", "s2": "#4fc9a4", "s3": "#e3a0cd", "s4": "#dfba4c", "s5": "#b4bcc6",
}  # fmt: skip
SERIES = ("s0", "s1", "s2", "s3", "s4", "s5")
DASHES = ("", "5 3", "2 2", "7 2 2 2", "1 3", "9 3")
SHAPES = ("circle", "square", "triangle", "diamond", "down", "circle")

Point = tuple[float, float]


@dataclass(frozen=True)
class Path:
    """A line through points, or the area inside them; `stroke` and `fill` are roles, empty for none."""

    points: tuple[Point, ...]
    stroke: str = ""
    fill: str = ""
    width: float = 1.0
    dash: str = ""
    opacity: float = 1.0
    hint: str = ""


@dataclass(frozen=True)
class Text:
    """A word whose baseline starts, has its middle or ends (`anchor`) at (x, y); `size` in pixels."""

    x: float
    y: float
    text: str
    role: str = "ink"
    anchor: str = "start"
    size: float = 11
    bold: bool = False


@dataclass
class Scene:
    """A drawing of `width` x `height` pixels.

    Attributes
    ----------
    title, description
        What it is, and what can be read off it, in words for those who do not see it.
    items
        Shapes and words, painted in this order.
    """

    width: float
    height: float
    title: str
    description: str = ""
    items: list[Path | Text] = field(default_factory=list)

    def line(self, points: Sequence[Point], role: str, *, width: float = 1.6, dash: str = "") -> None:
        """Draw a line through points."""
        self.items.append(Path(tuple(points), stroke=role, width=width, dash=dash))

    def area(self, points: Sequence[Point], role: str, *, opacity: float = 1.0, hint: str = "") -> None:
        """Fill the area inside points; `hint` is shown where the pointer rests on it."""
        self.items.append(Path(tuple(points), fill=role, opacity=opacity, hint=hint))

    def box(self, x: float, y: float, size: Point, role: str, *, opacity: float = 1.0, hint: str = "") -> None:
        """Fill a rectangle of `size` (width, height) with its top left corner at (x, y)."""
        width, height = size
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
        self.area(corners, role, opacity=opacity, hint=hint)

    def marker(self, x: float, y: float, role: str, *, shape: str = "circle", size: float = 4, hint: str = "") -> None:
        """Draw a sign of radius `size` around (x, y), with a thin edge that sets it off from what is below."""
        points = tuple((x + size * dx, y + size * dy) for dx, dy in _outline(shape))
        self.items.append(Path(points, stroke="paper", fill=role, width=1, hint=hint))

    def text(self, x: float, y: float, text: str, **style: object) -> None:
        """Write a word; style as in `Text`."""
        self.items.append(Text(x, y, text, **style))  # type: ignore[arg-type]


def to_svg(scene: Scene, *, alone: bool = False) -> Html:
    """Return the drawing as an SVG element; `alone` as a file of its own, with its colours inside."""
    label = f"{scene.title}. {scene.description}".strip()
    return tag(
        "svg",
        tag("title", scene.title),
        tag("desc", scene.description) if scene.description else None,
        tag("style", Html(_style())) if alone else None,
        _svg(Path(_corners(scene), fill="paper")) if alone else None,
        [_svg(item) for item in scene.items],
        xmlns="http://www.w3.org/2000/svg" if alone else None,
        viewBox=f"0 0 {_number(scene.width)} {_number(scene.height)}",
        width=_number(scene.width) if alone else None,
        height=_number(scene.height) if alone else None,
        role="img",
        aria_label=label,
        class_="chart",
    )


def role_rules() -> str:
    """Return the style rules that give shapes and words the colours of their roles."""
    roles = LIGHT.keys()
    fills = "".join(f".f-{role}{{fill:var(--{role})}}" for role in roles)
    return fills + "".join(f".l-{role}{{stroke:var(--{role})}}" for role in roles)


def variables(colors: dict[str, str]) -> str:
    """Return colours as custom properties of CSS."""
    return "".join(f"--{role}:{value};" for role, value in colors.items())


def _style() -> str:
    dark = f"@media (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    font = "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}"
    return f":root{{{variables(LIGHT)}}}{dark}{role_rules()}{font}"


def _corners(scene: Scene) -> tuple[Point, ...]:
    return ((0, 0), (scene.width, 0), (scene.width, scene.height), (0, scene.height))


def _svg(item: Path | Text) -> Html:
    return _svg_text(item) if isinstance(item, Text) else _svg_path(item)


def _svg_text(item: Text) -> Html:
    return tag(
        "text",
        item.text,
        x=_number(item.x),
        y=_number(item.y),
        class_=f"f-{item.role}",
        text_anchor=None if item.anchor == "start" else item.anchor,
        font_size=_number(item.size),
        font_weight="600" if item.bold else None,
    )


def _svg_path(item: Path) -> Html:
    classes = " ".join(f"{kind}-{role}" for kind, role in (("f", item.fill), ("l", item.stroke)) if role)
    return tag(
        "polygon" if item.fill else "polyline",
        tag("title", item.hint) if item.hint else None,
        points=" ".join(f"{_number(x)},{_number(y)}" for x, y in item.points),
        class_=classes,
        fill=None if item.fill else "none",
        stroke_width=_number(item.width) if item.stroke else None,
        stroke_dasharray=item.dash or None,
        stroke_linejoin="round" if item.stroke else None,
        fill_opacity=_number(item.opacity) if item.opacity < 1 else None,
    )


def _outline(shape: str) -> Sequence[Point]:
    """Return the corners of a sign around (0, 0), of about the same area as the circle of radius 1."""
    if shape == "square":
        return ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9))
    if shape == "diamond":
        return ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0))
    if shape in ("triangle", "down"):
        flip = 1 if shape == "triangle" else -1
        return ((0, -1.2 * flip), (1.2, 0.9 * flip), (-1.2, 0.9 * flip))
    return [(math.cos(math.tau * step / 20), math.sin(math.tau * step / 20)) for step in range(20)]


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def as_file(scene: Scene) -> str:
    """Return the text of an SVG file."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{to_svg(scene, alone=True)}\n'
