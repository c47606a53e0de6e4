"""A `Scene` as PNG, for places that take no SVG; drawn by matplotlib, on the same page as all pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath

from segtool.report.canvas import DPI, Page, drawable
from segtool.report.page.scene import LIGHT, Path, Point, Scene, Text

_SCALE = 3
_POINTS = 72 / DPI  # of a pixel


def write_png(scene: Scene, path: FilePath) -> None:
    """Write a drawing as PNG at three times its size, atomically.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    page = Page(round(scene.width * _SCALE) + 48, round(scene.height * _SCALE) + 48)
    for item in scene.items:
        if isinstance(item, Text):
            _draw_text(page, item)
        else:
            _draw_path(page, item)
    page.save(path)


def _at(point: Point) -> Point:
    return point[0] * _SCALE + 24, point[1] * _SCALE + 24


def _draw_text(page: Page, item: Text) -> None:
    x, y = _at((item.x, item.y))
    place = {"start": "left", "middle": "center", "end": "right"}[item.anchor]
    size, weight = item.size * _SCALE * _POINTS, "bold" if item.bold else "normal"
    page.text(x, y, drawable(item.text), size=size, color=LIGHT[item.role], ha=place, va="baseline", weight=weight)


def _draw_path(page: Page, item: Path) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon
    from matplotlib.transforms import IdentityTransform

    points = [(x, page.height - y) for x, y in map(_at, item.points)]
    width = item.width * _SCALE * _POINTS
    if item.fill:
        edge = {"edgecolor": LIGHT[item.stroke], "linewidth": width} if item.stroke else {"linewidth": 0}
        face = LIGHT[item.fill]
        page.figure.add_artist(
            Polygon(points, closed=True, facecolor=face, alpha=item.opacity, transform=IdentityTransform(), **edge)
        )
        return
    xs, ys = zip(*points, strict=True)
    style = _dashes(item.dash)
    line = Line2D(xs, ys, color=LIGHT[item.stroke], linewidth=width, linestyle=style, transform=IdentityTransform())
    page.figure.add_artist(line)


def _dashes(dash: str) -> str | tuple[int, Sequence[float]]:
    return (0, [float(part) for part in dash.split()]) if dash else "-"
