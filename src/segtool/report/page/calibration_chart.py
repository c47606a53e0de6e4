"""How often a model is right where it says that it is sure: the reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segtool.report.page.axis import Scale
from segtool.report.page.plot import WIDTH, Frame, draw_axes
from segtool.report.page.scene import Scene


def calibration_chart(calibration: Mapping[str, Any] | None) -> Scene | None:
    """Draw accuracy against confidence of the bins of ``evaluate --json``; None where there are none."""
    found = calibration or {}
    bins = [each for each in found.get("bins", ()) if each["pixels"] and each["accuracy"] is not None]
    if not bins:
        return None
    frame = Frame(48, 26, WIDTH - 14, 230)
    x, y = Scale(0, 100, *frame.horizontal), Scale(0, 100, *frame.vertical)
    words = "; ".join(f"at {100 * each['confidence']:.0f} % sure {100 * each['accuracy']:.0f} % right" for each in bins)
    scene = Scene(WIDTH, 266, "Calibration", f"{words}.")
    draw_axes(scene, frame, x, y, titles=("probability of the label, %", "labels that are right, %"))
    scene.line(((x(0), y(0)), (x(100), y(100))), "muted", width=1, dash="4 3")
    most = max(each["pixels"] for each in bins)
    points = [(x(100 * each["confidence"]), y(100 * each["accuracy"])) for each in bins]
    scene.line(points, "s0")
    for each, point in zip(bins, points, strict=True):
        size = 2.5 + 4 * (each["pixels"] / most) ** 0.25
        scene.marker(*point, "s0", size=size, hint=f"{each['pixels']:,} pixels")
    return scene
