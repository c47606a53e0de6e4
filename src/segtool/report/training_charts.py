"""The curves of a training: one picture for the run folder, and single charts for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import Float64Array
from segtool.errors import DataError
from segtool.report.style import LIGHT, MUTED, Chart, new_figure, save_png, style, write_heading

History = Sequence[Mapping[str, Any]]
_LOG_RATIO = 20  # curves with a larger ratio of maximum to minimum need a logarithmic axis
_NOTE = "IoU and Dice: mean over the foreground classes, from one confusion matrix over all validation images"
_FEW = 12  # up to this number of epochs, points are marked
_DASHES = ("-", (0, (4, 1.5)))


@dataclass(frozen=True)
class _Curve:
    column: str
    label: str
    role: str


@dataclass(frozen=True)
class _Axes:
    name: str
    title: str
    curves: tuple[_Curve, ...]
    scale: float = 1.0
    may_be_log: bool = False
    mark_highest: bool = False


_AXES = (
    _Axes("loss", "Loss", (_Curve("loss", "training", "s0"), _Curve("val_loss", "validation", "s1")), may_be_log=True),
    _Axes(
        "iou",
        "Foreground mean IoU and Dice, validation, %",
        (_Curve("val_foreground_mean_iou", "IoU", "s2"), _Curve("val_foreground_mean_dice", "Dice", "s3")),
        scale=100,
        mark_highest=True,
    ),
    _Axes(
        "accuracy",
        "Pixel accuracy, %",
        (_Curve("accuracy", "training", "s0"), _Curve("val_pixel_accuracy", "validation", "s1")),
        scale=100,
    ),
    _Axes("rate", "Learning rate", (_Curve("learning_rate", "learning rate", "s5"),)),
)


def plot_curves(history: History, path: str | Path, *, title: str = "Training and validation") -> None:
    """Write the curves of a training to a PNG: loss, foreground IoU and Dice, pixel accuracy, learning rate.

    Parameters
    ----------
    history
        One mapping per epoch with the columns of ``history.csv``: epoch, loss, accuracy, val_loss,
        val_pixel_accuracy, val_foreground_mean_iou, val_foreground_mean_dice, learning_rate. Values are numbers or
        their text; a missing, empty or non-finite value leaves a gap.
    path
        The PNG to write, atomically.
    title
        Heading of the picture.

    Raises
    ------
    DataError
        `history` is empty or a value is not a number.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    if not history:
        raise DataError("The history has no epochs, so there is no curve to draw; train at least one epoch.")
    with style():
        figure = new_figure(1750, 1240)
        write_heading(figure, title, [_NOTE])
        figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
        for axes, chart in zip(figure.subplots(2, 2).flat, _AXES, strict=True):
            _draw(axes, chart, history)
        save_png(figure, path)


def training_charts(history: History) -> dict[str, Chart]:
    """Return the charts that the history has values for, by name; none for an empty history.

    Raises
    ------
    DataError
        A value of the history is not a number.
    """
    found = {}
    for chart in _AXES if history else ():
        series = [(curve.label, _values(history, chart, curve)) for curve in chart.curves]
        known = [(label, values) for label, values in series if np.isfinite(values).any()]
        if known:
            with style(10.5):
                figure = new_figure(400, 226, dpi=72)
                _draw(figure.subplots(), chart, history)
            found[chart.name] = Chart(chart.title, _describe(known, _epochs(history)), figure)
    return found


def column(history: History, name: str) -> Float64Array:
    """Return one column of the history as float64 (epochs,); missing and non-finite values are NaN."""
    try:
        values = [float("nan" if row.get(name) in (None, "") else row[name]) for row in history]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Column {name!r} of the history holds a value that is not a number ({error}); correct history.csv."
        ) from error
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def highest(epochs: Float64Array, values: Float64Array) -> tuple[float, float] | None:
    """Return (epoch, value) of the first highest value; None if no value is finite."""
    if not np.isfinite(values).any():
        return None
    index = int(np.nanargmax(values))
    return float(epochs[index]), float(values[index])


def needs_log(values: Float64Array) -> bool:
    """Return whether the finite `values` are positive and span more than `_LOG_RATIO`."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() / finite.min() > _LOG_RATIO)


def _values(history: History, chart: _Axes, curve: _Curve) -> Float64Array:
    return column(history, curve.column) * chart.scale


def _epochs(history: History) -> Float64Array:
    """Return the epoch numbers of the history; 1, 2, ... if they are missing."""
    epochs = column(history, "epoch")
    return epochs if np.isfinite(epochs).all() else np.arange(1, len(history) + 1, dtype=np.float64)


def _draw(axes: Any, chart: _Axes, history: History) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = _epochs(history)
    series = [_values(history, chart, curve) for curve in chart.curves]
    axes.set_title(chart.title)
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    together = np.concatenate(series)
    if not np.isfinite(together).any():
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=MUTED)
        return
    for curve, values, dashes in zip(chart.curves, series, _DASHES, strict=False):
        marker = "o" if len(epochs) <= _FEW or np.isnan(values).any() else ""
        look = {"color": LIGHT[curve.role], "linestyle": dashes, "marker": marker, "markersize": 4}
        axes.plot(epochs, values, label=curve.label, **look)
    if chart.may_be_log and needs_log(together):
        _set_log(axes)
    if chart.mark_highest:
        _mark_highest(axes, chart.curves[0], highest(epochs, series[0]))
    if len(chart.curves) > 1:
        axes.legend(labelcolor="linecolor", loc="best", handlelength=1.8)


def _set_log(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title("logarithmic", loc="right", fontsize="small", fontweight="normal", color=MUTED)


def _mark_highest(axes: Any, curve: _Curve, point: tuple[float, float] | None) -> None:
    """Mark the highest value of a curve and name it in the legend."""
    if point is not None:
        label = f"highest {curve.label}: {point[1]:.2f} in epoch {point[0]:g}"
        axes.plot([point[0]], [point[1]], "D", markersize=7, color=LIGHT[curve.role], label=label)


def _describe(series: Sequence[tuple[str, Float64Array]], epochs: Float64Array) -> str:
    parts = []
    for label, values in series:
        finite = values[np.isfinite(values)]
        best = f", lowest {finite.min():.4g}, highest {finite.max():.4g}"
        parts.append(f"{label}: {finite[0]:.4g} at the start, {finite[-1]:.4g} at the end{best}")
    return f"Epochs {epochs[0]:g} to {epochs[-1]:g}. {'; '.join(parts)}."
