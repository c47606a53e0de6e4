"""The curves of a training: one picture for the run folder, and single charts for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import Float64Array
from segtool.errors import DataError
from segtool.report.style import LIGHT, MUTED, Chart, new_figure, save_png, set_log, style
from segtool.text import clean, shortened

History = Sequence[Mapping[str, Any]]
_LOG_RATIO = 20  # curves with a larger ratio of maximum to minimum need a logarithmic axis
_NOTE = "IoU and Dice: mean over the foreground classes, from one confusion matrix over all validation images"
_FEW = 12  # up to this number of epochs, points are marked
_DASHES = ("-", (0, (4, 1.5)))


@dataclass(frozen=True)
class _Plot:
    """One chart: its curves are (column of history.csv, label, colour), drawn `scale` times as large."""

    title: str
    curves: tuple[tuple[str, str, str], ...]
    scale: float = 1.0


_PLOTS = {
    "loss": _Plot("Loss", (("loss", "training", "s0"), ("val_loss", "validation", "s1"))),
    "iou": _Plot(
        "Foreground mean IoU and Dice, validation, %",
        (("val_foreground_mean_iou", "IoU", "s2"), ("val_foreground_mean_dice", "Dice", "s3")),
        scale=100,
    ),
    "accuracy": _Plot(
        "Pixel accuracy, %",
        (("accuracy", "training", "s0"), ("val_pixel_accuracy", "validation", "s1")),
        scale=100,
    ),
    "rate": _Plot("Learning rate", (("learning_rate", "learning rate", "s5"),)),
}


def plot_curves(history: History, path: str | Path, *, title: str) -> None:
    """Write the curves of a training to a PNG, atomically.

    Parameters
    ----------
    history
        One mapping per epoch with the columns of ``history.csv``, at least one epoch. Values are numbers or their text;
        a missing, empty or non-finite value leaves a gap.

    Raises
    ------
    SegtoolError
        A value is not a number, the file could not be written, or matplotlib is not installed.
    """
    with style():
        figure = new_figure(1670, 1100)
        figure.get_layout_engine().set(wspace=0.06, hspace=0.06)
        for axes, name in zip(figure.subplots(2, 2).flat, _PLOTS, strict=True):
            _draw(axes, name, history)
        figure.suptitle(shortened(clean(title), 80), x=0, ha="left", fontsize=15, fontweight="bold")
        figure.supxlabel(_NOTE, x=0, ha="left", fontsize=8.5, color=MUTED)
        save_png(figure, path)


def training_charts(history: History) -> dict[str, Chart]:
    """Return the charts that the history has values for, by name; errors as in `plot_curves`."""
    found = {}
    for name, plot in _PLOTS.items():
        series = {label: plot.scale * column(history, source) for source, label, _ in plot.curves}
        known = {label: values for label, values in series.items() if np.isfinite(values).any()}
        if known:
            with style(10.5):
                figure = new_figure(400, 226, dpi=72)
                _draw(figure.subplots(), name, history)
            found[name] = Chart(plot.title, _describe(known, _epochs(history)), figure)
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


def needs_log(values: Float64Array) -> bool:
    """Return whether the finite `values` are positive and span more than `_LOG_RATIO`."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() / finite.min() > _LOG_RATIO)


def _epochs(history: History) -> Float64Array:
    """Return the epoch numbers of the history; 1, 2, ... if they are missing."""
    epochs = column(history, "epoch")
    return epochs if np.isfinite(epochs).all() else np.arange(1, len(history) + 1, dtype=np.float64)


def _draw(axes: Any, name: str, history: History) -> None:
    from matplotlib.ticker import MaxNLocator

    plot, epochs = _PLOTS[name], _epochs(history)
    series = [plot.scale * column(history, source) for source, _, _ in plot.curves]
    axes.set_title(plot.title)
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if not np.isfinite(series).any():
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=MUTED)
        return
    for (_, label, role), values, dashes in zip(plot.curves, series, _DASHES, strict=False):
        marker = "o" if len(epochs) <= _FEW or np.isnan(values).any() else ""
        axes.plot(epochs, values, color=LIGHT[role], linestyle=dashes, marker=marker, markersize=4, label=label)
    if name == "loss" and needs_log(np.concatenate(series)):
        set_log(axes.yaxis)
        axes.set_title("logarithmic", loc="right", fontsize="small", fontweight="normal", color=MUTED)
    if name == "iou" and np.isfinite(series[0]).any():
        best = int(np.nanargmax(series[0]))
        label = f"highest IoU: {series[0][best]:.2f} in epoch {epochs[best]:g}"
        axes.plot(epochs[best], series[0][best], "D", markersize=7, color=LIGHT[plot.curves[0][2]], label=label)
    if len(plot.curves) > 1:
        axes.legend(labelcolor="linecolor", loc="best", handlelength=1.8)


def _describe(series: Mapping[str, Float64Array], epochs: Float64Array) -> str:
    parts = []
    for label, values in series.items():
        finite = values[np.isfinite(values)]
        best = f", lowest {finite.min():.4g}, highest {finite.max():.4g}"
        parts.append(f"{label}: {finite[0]:.4g} at the start, {finite[-1]:.4g} at the end{best}")
    return f"Epochs {epochs[0]:g} to {epochs[-1]:g}. {'; '.join(parts)}."
