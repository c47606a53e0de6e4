"""The table of scores beside each image, as pure functions that tests can check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.metrics import Scores, confusion_matrix


@dataclass(frozen=True)
class TableRow:
    """One line of the table beside an image.

    Attributes
    ----------
    class_id
        Id of the class; None for a mean over classes.
    name
        Name of the line.
    iou, dice
        Per-image values, 0..1; NaN if no pixel counts.
    """

    class_id: int | None
    name: str
    iou: float
    dice: float


def table_rows(
    truth: npt.NDArray[np.integer[Any]],
    prediction: npt.NDArray[np.integer[Any]],
    *,
    class_names: Sequence[str],
    background_id: int | None,
    ignore_id: int | None = None,
) -> tuple[TableRow, ...]:
    """Return IoU and Dice of each class of one image, and their mean over the foreground.

    Parameters
    ----------
    truth, prediction
        Class ids (h, w); `truth` may hold `ignore_id`, whose pixels do not count.
    class_names
        Name of class 0, 1, ...
    background_id
        The class that the mean excludes and the table lists last; None for none.

    Returns
    -------
    tuple of TableRow
        The classes present in truth or prediction in the order of their ids, then the background, then the mean. All
        values come from the confusion matrix of this image (`segtool.metrics`).
    """
    matrix = confusion_matrix(truth, prediction, len(class_names), ignore_id=ignore_id)
    scores = Scores.from_matrix(matrix, class_names=tuple(class_names), background_id=background_id, images=1)
    present = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    ordered = sorted(present.tolist(), key=lambda index: (index == background_id, index))
    rows = [TableRow(at, class_names[at], float(scores.iou[at]), float(scores.dice[at])) for at in ordered]
    label = "mean" if background_id is None else "foreground mean"
    rows.append(TableRow(None, label, float(scores.foreground_mean_iou), float(scores.foreground_mean_dice)))
    return tuple(rows)


def present_classes(tables: Sequence[Sequence[TableRow]]) -> tuple[int, ...]:
    """Return the ids of the classes that occur in any of the tables, ascending."""
    return tuple(sorted({row.class_id for table in tables for row in table if row.class_id is not None}))
