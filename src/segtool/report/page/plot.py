"""The frame of a chart: its scales, quiet grid lines, ticks and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segtool.report.page.axis import Scale, tick_text
from segtool.report.page.scene import Point, Scene

WIDTH = 400  # of every chart: on a phone it is shown at about this size, so that its words stay readable


@dataclass(frozen=True)
class Frame:
    """Pixels of the four sides of the area where values are drawn."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def horizontal(self) -> Point:
        """Left and right, for a scale to the right."""
        return self.left, self.right

    @property
    def vertical(self) -> Point:
        """Bottom and top, for a scale upwards."""
        return self.bottom, self.top


def draw_axes(scene: Scene, frame: Frame, x: Scale, y: Scale, *, titles: tuple[str, str], whole: bool = False) -> None:
    """Draw grid lines and ticks of both scales; `titles` of x and y, and `whole` for ticks of x at whole numbers."""
    for value in y.ticks(4):
        at = y(value)
        scene.line(((frame.left, at), (frame.right, at)), "rule", width=1)
        scene.text(frame.left - 6, at + 3.5, tick_text(value), role="muted", anchor="end", size=10.5)
    draw_x_axis(scene, frame, x, title=titles[0], whole=whole)
    scene.text(frame.left, frame.top - 9, titles[1], role="muted", size=10.5)


def draw_x_axis(scene: Scene, frame: Frame, x: Scale, *, title: str, whole: bool = False) -> None:
    """Draw the scale to the right below the frame."""
    scene.line(((frame.left, frame.bottom), (frame.right, frame.bottom)), "muted", width=1)
    for value in x.ticks(6):
        if whole and value != round(value):
            continue
        at = x(value)
        scene.line(((at, frame.bottom), (at, frame.bottom + 4)), "muted", width=1)
        scene.text(at, frame.bottom + 15, tick_text(value), role="muted", anchor="middle", size=10.5)
    scene.text((frame.left + frame.right) / 2, frame.bottom + 31, title, role="muted", anchor="middle", size=10.5)


def runs_of(points: Sequence[Point]) -> list[list[Point]]:
    """Return the stretches of points without a gap (a point with a NaN)."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point[0] == point[0] and point[1] == point[1]:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
