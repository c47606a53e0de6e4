"""The course of a training as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError
from segtool.report.canvas import BLUE, FONT, GREEN, INK, MUTED, ORANGE, RULE, Page, header_height, write_header

_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 120, 40, 720, 400, 130, 130
_LOG_RATIO = 20  # curves that span more than this are unreadable on a linear axis
_NOTE = ("IoU and Dice: mean over the foreground classes, from one confusion matrix over all validation images",)


@dataclass(frozen=True)
class _Curve:
    column: str
    label: str
    color: str
    dashed: bool = False


@dataclass(frozen=True)
class _Chart:
    title: str
    curves: tuple[_Curve, ...]
    scale: float = 1.0
    may_be_log: bool = False
    mark_highest: bool = False
    from_zero: bool = False


_CHARTS = (
    _Chart("Loss", (_Curve("loss", "training", BLUE), _Curve("val_loss", "validation", ORANGE)), may_be_log=True),
    _Chart(
        "Pixel accuracy, %",
        (_Curve("accuracy", "training", BLUE), _Curve("val_pixel_accuracy", "validation", ORANGE)),
        scale=100,
    ),
    _Chart(
        "Foreground mean IoU and Dice, validation, %",
        (
            _Curve("val_foreground_mean_iou", "IoU", GREEN),
            _Curve("val_foreground_mean_dice", "Dice", ORANGE, dashed=True),
        ),
        scale=100,
        mark_highest=True,
    ),
    _Chart("Learning rate", (_Curve("learning_rate", "learning rate", INK),), from_zero=True),
)


def plot_curves(
    history: Sequence[Mapping[str, Any]], path: str | Path, *, title: str = "Training and validation"
) -> None:
    """Write the curves of a training to a PNG: loss, pixel accuracy, foreground IoU and Dice, learning rate.

    Parameters
    ----------
    history
        One mapping an epoch with the columns of ``history.csv``: epoch, loss, accuracy, val_loss,
        val_pixel_accuracy, val_foreground_mean_iou, val_foreground_mean_dice, learning_rate. Numbers or
        text of numbers; a value that is missing, empty or not finite leaves a gap.
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
        raise DataError("The history holds no epoch, so there is no curve to draw; train at least one epoch.")
    head = header_height(_NOTE) + 64
    page = Page(2 * (_LEFT + _WIDTH) + _GAP_X - 60, _TOP + head + 2 * _HEIGHT + _GAP_Y + 100)
    write_header(page, left=_LEFT - 60, top=_TOP, title=title, notes=_NOTE)
    for index, chart in enumerate(_CHARTS):
        x = _LEFT + index % 2 * (_WIDTH + _GAP_X)
        y = _TOP + head + index // 2 * (_HEIGHT + _GAP_Y)
        page.text(x, y - 26, chart.title, size=10.5, weight="bold")
        _draw_chart(page.axes(x, y, _WIDTH, _HEIGHT), chart, history, bottom=index >= 2)
    page.save(path)


def column(history: Sequence[Mapping[str, Any]], name: str) -> npt.NDArray[np.float64]:
    """Return one column of the history as float64 (epochs,), NaN where it is missing or not finite."""
    try:
        values = [float("nan" if row.get(name) in (None, "") else row[name]) for row in history]
    except (TypeError, ValueError) as error:
        raise DataError(f"Column {name!r} of the history holds something that is no number ({error}).") from error
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def highest(epochs: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """Return (epoch, value) of the first highest value; None where no value is finite."""
    if not np.isfinite(values).any():
        return None
    index = int(np.nanargmax(values))
    return float(epochs[index]), float(values[index])


def needs_log(values: npt.NDArray[np.float64]) -> bool:
    """Tell whether finite, positive `values` span so much that only a logarithmic axis shows them."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() / finite.min() > _LOG_RATIO)


def _epochs(history: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
    """Return the epochs as the history numbers them; 1, 2, ... where it does not."""
    epochs = column(history, "epoch")
    return epochs if np.isfinite(epochs).all() else np.arange(1, len(history) + 1, dtype=np.float64)


def _draw_chart(axes: Any, chart: _Chart, history: Sequence[Mapping[str, Any]], *, bottom: bool) -> None:
    epochs = _epochs(history)
    series = [column(history, curve.column) * chart.scale for curve in chart.curves]
    for curve, values in zip(chart.curves, series, strict=True):
        if np.isfinite(values).any():
            _draw_curve(axes, curve, epochs, values)
    _style_axes(axes, epochs, np.concatenate(series), log=chart.may_be_log and needs_log(np.concatenate(series)))
    if chart.from_zero and len(axes.lines):
        axes.set_ylim(bottom=0)
    if bottom:
        axes.set_xlabel("epoch", fontsize=9, color=MUTED, family=FONT)
    if chart.mark_highest:
        _mark_highest(axes, chart.curves[0], highest(epochs, series[0]))
    if len(axes.lines) == 0:
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=MUTED, size=9, family=FONT)
    elif len(chart.curves) > 1:
        legend = axes.legend(labelcolor=INK, handlelength=1.8, prop={"family": FONT, "size": 9})
        legend.get_frame().set(facecolor="white", edgecolor="none", alpha=0.9)


def _draw_curve(axes: Any, curve: _Curve, epochs: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> None:
    # With few epochs, or gaps, a line alone may have nothing to connect.
    marker = "o" if len(epochs) <= 12 or np.isnan(values).any() else ""
    style = (0, (4, 1.5)) if curve.dashed else "-"
    look = {"color": curve.color, "linestyle": style, "linewidth": 1.8, "marker": marker, "markersize": 4}
    axes.plot(epochs, values, label=curve.label, **look)


def _style_axes(axes: Any, epochs: npt.NDArray[np.float64], values: npt.NDArray[np.float64], *, log: bool) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    pad = 0.02 * (epochs.max() - epochs.min()) or 0.5
    axes.set_xlim(epochs.min() - pad, epochs.max() + pad)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_title("logarithmic", loc="right", fontsize=8, color=MUTED, family=FONT)
    elif np.isfinite(values).any():
        formatter = ScalarFormatter(useOffset=False, useMathText=False)
        formatter.set_powerlimits((-4, 6))
        axes.yaxis.set_major_formatter(formatter)


def _mark_highest(axes: Any, curve: _Curve, point: tuple[float, float] | None) -> None:
    """Ring the highest value of a curve and name it in the legend."""
    if point is None:
        return
    epoch, value = point
    label = f"highest {curve.label}: {value:.2f} in epoch {epoch:g}"
    axes.plot([epoch], [value], "o", markersize=8, markerfacecolor="none", markeredgecolor=curve.color, label=label)
