"""The confusion matrix as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.errors import DataError
from segtool.report.canvas import (
    INK,
    MUTED,
    NOTE_SIZE,
    RULE,
    Page,
    drawable,
    drawable_names,
    header_height,
    shorten,
    text_width,
    write_header,
)

_MARGIN = 56
_MAX_WRITTEN = 24  # above this many classes the cells are too small for figures
_FEW = 12
_UPRIGHT_LIMIT = 120.0
_NAME_LIMIT = 300.0
_NOTES = (
    "Each row is one true class and adds up to 100 %: where its pixels went, in percent.",
    "The diagonal is what was found (recall); empty is exactly 0, grey rows have no true pixel.",
)


def plot_confusion(
    matrix: npt.NDArray[np.integer[Any]],
    class_names: Sequence[str],
    path: str | Path,
    *,
    title: str = "Confusion matrix",
    subject: str = "",
) -> None:
    """Write a confusion matrix, normalized by row, to a PNG.

    Parameters
    ----------
    matrix
        Pixel counts (K, K): rows truth, columns prediction (`runtime.metrics.confusion_matrix`).
    class_names
        Name of class 0, 1, ..., K - 1.
    path
        The PNG to write, atomically.
    title
        Heading of the picture.
    subject
        Of what model on what data it is, for the first line under the heading.

    Raises
    ------
    DataError
        `matrix` is not (K, K) for K names, or holds a negative count.
    MissingExtraError
        matplotlib is not installed.
    OutputWriteError
        The file could not be written.
    """
    shares = row_shares(matrix, len(class_names))
    count = len(class_names)
    size = 8.5 if count <= _MAX_WRITTEN else 6.5
    names = [shorten(name, size, _NAME_LIMIT) for name in drawable_names(class_names)]
    widest = max(text_width(name, size) for name in names)
    cell = _cell_size(count, widest)
    left = _MARGIN + 40 + widest + 14
    above = widest if widest >= cell - 8 else 20  # the names of the columns stand upright where they fit
    side = cell * count
    width = round(max(left + side, 1000) + _MARGIN)
    told = [shorten(drawable(subject), NOTE_SIZE, width - 2 * _MARGIN)] if subject else []
    notes = (*told, *_NOTES)
    top = _MARGIN + header_height(notes) + 56 + above
    page = Page(width, round(top + side + _MARGIN))
    write_header(page, left=_MARGIN, top=_MARGIN - 16, title=title, notes=notes)
    _draw_cells(page, shares, x=left, y=top, cell=cell)
    _draw_names(page, names, x=left, y=top, cell=cell, size=size)
    page.text(left + side / 2, top - above - 42, "predicted", size=10, weight="bold", ha="center")
    page.text(_MARGIN + 12, top + side / 2, "true", size=10, weight="bold", ha="center", rotation=90, va="center")
    if count <= _MAX_WRITTEN:
        _write_shares(page, shares, x=left, y=top, cell=cell)
    page.save(path)


def _cell_size(count: int, widest: float) -> int:
    """Return the side of a cell in pixels: small for many classes, wide enough for the names of a few."""
    if count > _MAX_WRITTEN:
        return 24
    if count <= _FEW and widest <= _UPRIGHT_LIMIT:
        return max(68, 340 // count, round(widest) + 16)
    return max(68, 340 // count)


def row_shares(matrix: npt.NDArray[np.integer[Any]], count: int) -> npt.NDArray[np.float64]:
    """Return the matrix divided by its row sums, float64 (K, K), NaN in rows without a pixel."""
    counts = np.asarray(matrix)
    if counts.shape != (count, count) or count == 0 or (counts < 0).any():
        raise DataError(
            f"A confusion matrix of {count} classes holds {count} x {count} counts of 0 or more, "
            f"found shape {counts.shape}; pass the names of all classes."
        )
    sums = counts.sum(axis=1, keepdims=True).astype(np.float64)
    return counts / np.where(sums == 0, np.nan, sums)


def cell_text(share: float) -> str:
    """Return a share as percent: nothing for 0, "<0.1" below that, never 100 where a pixel is missing."""
    if np.isnan(share) or share == 0:
        return ""
    if share < 0.001:
        return "<0.1"
    if share < 1 and share > 0.999:
        return ">99.9"
    return "100" if share == 1 else f"{100 * share:.1f}"


def _draw_cells(page: Page, shares: npt.NDArray[np.float64], *, x: float, y: float, cell: int) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import PowerNorm

    side = cell * len(shares)
    axes = page.axes(x, y, side, side)
    colors = colormaps["Blues"].with_extremes(bad="#e6e8eb")
    # A confusion of one percent matters and would be white on a linear scale.
    axes.imshow(shares, cmap=colors, norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    lines = np.arange(1, len(shares)) - 0.5
    width = 0.6 if cell > 40 else 0.2
    axes.hlines(lines, -0.5, len(shares) - 0.5, color=RULE, linewidth=width)
    axes.vlines(lines, -0.5, len(shares) - 0.5, color=RULE, linewidth=width)


def _draw_names(page: Page, names: Sequence[str], *, x: float, y: float, cell: int, size: float) -> None:
    rotation = 0 if all(text_width(name, size) < cell - 8 for name in names) else 90
    for index, name in enumerate(names):
        middle = (index + 0.5) * cell
        page.text(x - 12, y + middle, name, size=size, ha="right", color=INK)
        page.text(x + middle, y - 12, name, size=size, va="bottom", color=INK, ha="center", rotation=rotation)


def _write_shares(page: Page, shares: npt.NDArray[np.float64], *, x: float, y: float, cell: int) -> None:
    size = 7.5 if cell < 100 else 9
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.4 else (INK if share > 0.05 else MUTED)
        place = x + (column + 0.5) * cell, y + (row + 0.5) * cell
        page.text(*place, cell_text(share), size=size, ha="center", color=color)
