"""The course of a training as drawings, from the rows of its history.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.report.curves import column, highest, needs_log
from segtool.report.page.axis import Scale, scale_of
from segtool.report.page.plot import WIDTH, Frame, draw_axes, runs_of
from segtool.report.page.scene import DASHES, Scene

Values = npt.NDArray[np.float64]
History = Sequence[Mapping[str, Any]]
_FRAME = Frame(48, 44, WIDTH - 12, 190)


@dataclass(frozen=True)
class _Line:
    column: str
    name: str
    role: str


@dataclass(frozen=True)
class _Chart:
    name: str
    title: str
    lines: tuple[_Line, ...]
    scale: float = 1.0
    may_be_log: bool = False
    mark: bool = False


_CHARTS = (
    _Chart("loss", "Loss", (_Line("loss", "training", "s0"), _Line("val_loss", "validation", "s1")), may_be_log=True),
    _Chart(
        "iou",
        "Foreground mean IoU and Dice, validation, %",
        (_Line("val_foreground_mean_iou", "IoU", "s2"), _Line("val_foreground_mean_dice", "Dice", "s3")),
        scale=100,
        mark=True,
    ),
    _Chart(
        "accuracy",
        "Pixel accuracy, %",
        (_Line("accuracy", "training", "s0"), _Line("val_pixel_accuracy", "validation", "s1")),
        scale=100,
    ),
    _Chart("rate", "Learning rate", (_Line("learning_rate", "learning rate", "s5"),)),
)


def training_charts(history: History) -> dict[str, Scene]:
    """Return the drawings that the history has numbers for, by name; none for an empty history.

    Raises
    ------
    DataError
        A value of the history is no number.
    """
    if not history:
        return {}
    charts = {chart.name: _draw(chart, history) for chart in _CHARTS}
    return {name: scene for name, scene in charts.items() if scene is not None}


def _draw(chart: _Chart, history: History) -> Scene | None:
    epochs = _epochs(history)
    series = [(line, column(history, line.column) * chart.scale) for line in chart.lines]
    series = [(line, values) for line, values in series if np.isfinite(values).any()]
    if not series:
        return None
    together = np.concatenate([values for _, values in series])
    finite = together[np.isfinite(together)].tolist()
    log = chart.may_be_log and needs_log(together)
    x = scale_of(epochs.tolist(), _FRAME.horizontal, pad=0.01)
    y = scale_of(finite, _FRAME.vertical, log=log)
    scene = Scene(WIDTH, 226, chart.title, _describe(series, epochs))
    draw_axes(scene, _FRAME, x, y, titles=("epoch", "logarithmic" if log else ""), whole=True)
    scene.text(0, 13, chart.title, bold=True, size=12)
    for index, (line, values) in enumerate(series):
        _draw_line(scene, x, y, (line, epochs, values), dash=DASHES[index])
    _draw_legend(scene, [line for line, _ in series])
    if chart.mark:
        _mark_highest(scene, x, y, (series[0][0], epochs, series[0][1]))
    return scene


def _draw_line(scene: Scene, x: Scale, y: Scale, drawn: tuple[_Line, Values, Values], *, dash: str) -> None:
    line, epochs, values = drawn
    pairs = zip(epochs.tolist(), values.tolist(), strict=True)
    points = [(x(epoch), y(value) if np.isfinite(value) else float("nan")) for epoch, value in pairs]
    for run in runs_of(points):
        scene.line(run, line.role, dash=dash)
        if len(run) <= 3:  # with a few epochs a line alone may have nothing to connect
            for at in run:
                scene.marker(*at, line.role, size=3)


def _draw_legend(scene: Scene, lines: Sequence[_Line]) -> None:
    if len(lines) < 2:
        return
    at = _FRAME.right
    for index, line in reversed(list(enumerate(lines))):
        scene.text(at, 30, line.name, role=line.role, anchor="end", size=11)
        at -= 6.2 * len(line.name) + 6
        scene.line(((at - 20, 26), (at, 26)), line.role, dash=DASHES[index])
        at -= 34


def _mark_highest(scene: Scene, x: Scale, y: Scale, drawn: tuple[_Line, Values, Values]) -> None:
    line, epochs, values = drawn
    found = highest(epochs, values)
    if found is None:
        return
    at = x(found[0]), y(found[1])
    scene.marker(*at, line.role, size=4.5, shape="diamond")
    # Towards the middle: beside the first or the last epoch there is no room for words.
    anchor = "start" if at[0] < (_FRAME.left + _FRAME.right) / 2 else "end"
    below = at[1] + 18 if at[1] + 22 < _FRAME.bottom else at[1] - 10
    scene.text(at[0], below, f"{found[1]:.2f} in epoch {found[0]:g}", anchor=anchor, size=10.5, role=line.role)


def _epochs(history: History) -> Values:
    """Return the epochs as the history numbers them; 1, 2, ... where it does not."""
    epochs = column(history, "epoch")
    return epochs if np.isfinite(epochs).all() else np.arange(1, len(history) + 1, dtype=np.float64)


def _describe(series: Sequence[tuple[_Line, Values]], epochs: Values) -> str:
    parts = []
    for line, values in series:
        finite = values[np.isfinite(values)]
        best = f", lowest {finite.min():.4g}, highest {finite.max():.4g}"
        parts.append(f"{line.name}: {finite[0]:.4g} at the start, {finite[-1]:.4g} at the end{best}")
    return f"Epochs {epochs[0]:g} to {epochs[-1]:g}. {'; '.join(parts)}."
