"""The confusion matrix as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtool.array_types import Float64Array, Int64Array
from segtool.metrics import row_shares
from segtool.report.style import INK, MUTED, RULE, drawable_names, new_figure, save_png, style, write_heading
from segtool.text import clean, percent, shortened

_MAX_WRITTEN = 24  # with more classes the cells are too small for numbers
_FEW, _LEVEL = 12, 12  # largest class count and name length for horizontal column names
_NAME_LIMIT = 28  # characters
_LEAST_SIDE = 760  # pixels
_NOTES = (
    "Each row is one true class and sums to 100 %: the predictions for its pixels, in percent.",
    "The diagonal is the recall. Empty cells are exactly 0; grey rows have no true pixel.",
)


def plot_confusion(matrix: Int64Array, class_names: Sequence[str], path: str | Path, *, subject: str) -> None:
    """Write a confusion matrix, normalized by row, to a PNG.

    Parameters
    ----------
    matrix
        Pixel counts (K, K): rows truth, columns prediction (`segtool.metrics.confusion_matrix`).
    subject
        The model and the data, for the first line under the heading.

    Raises
    ------
    SegtoolError
        The file could not be written, or matplotlib is not installed.
    """
    count, shares = len(class_names), row_shares(matrix)
    names = [shortened(name, _NAME_LIMIT) for name in drawable_names(class_names)]
    longest = max(map(len, names))
    upright = count > _FEW or longest > _LEVEL  # else the names are horizontal, and the cells as wide as they are
    cell = 24 if count > _MAX_WRITTEN else 68 if upright else max(68, 11 * longest + 20)
    side = max(cell * count, _LEAST_SIDE)
    with style(8.5 if count <= _MAX_WRITTEN else 6.5):
        figure = new_figure(side, side, layout=None)
        axes = figure.add_axes((0, 0, 1, 1))
        _draw_cells(axes, shares, names, upright=upright)
        if count <= _MAX_WRITTEN:
            _write_shares(axes, shares)
        write_heading(figure, "Confusion matrix", [shortened(clean(subject), 100), *_NOTES])
        save_png(figure, path)


def cell_text(share: float) -> str:
    """Return a fraction as percent: empty for 0, "<0.1" for small values, "100" only for exactly 1."""
    if np.isnan(share) or share == 0:
        return ""
    if share < 0.001:
        return "<0.1"
    return ">99.9" if 0.999 < share < 1 else percent(share, 1)


def _draw_cells(axes: Any, shares: Float64Array, names: Sequence[str], *, upright: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    colors = colormaps["Blues"].with_extremes(bad="#e6e8eb")
    # A confusion of one percent matters, but would look white on a linear scale.
    axes.imshow(shares, cmap=colors, norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation="nearest")
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=90 if upright else 0)
    axes.set_yticks(places, names)
    axes.tick_params(length=0, labelcolor=INK, top=True, bottom=False, labeltop=True, labelbottom=False)
    axes.set_xticks(places[1:] - 0.5, minor=True)
    axes.set_yticks(places[1:] - 0.5, minor=True)
    axes.grid(which="minor", color=RULE)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(True)
    axes.set_xlabel("predicted", fontsize=10, fontweight="bold", color=INK)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("true", fontsize=10, fontweight="bold", color=INK)


def _write_shares(axes: Any, shares: Float64Array) -> None:
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.4 else (INK if share > 0.05 else MUTED)
        axes.text(column, row, cell_text(share), ha="center", va="center", color=color)
