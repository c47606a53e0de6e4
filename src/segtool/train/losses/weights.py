"""What each class counts for: nothing special, balanced by frequency, or a list."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from segtool.data.arrays import Labels
from segtool.errors import TrainingError

NONE, BALANCED = "none", "balanced"


def class_weights(text: str, labels: Iterable[Labels], *, num_classes: int) -> list[float] | None:
    """Return what a pixel of each class counts for.

    Parameters
    ----------
    text
        "none"; "balanced": all pixels / (K x pixels of the class), so that all classes count for the same in all (King,
        Zeng: Logistic Regression in Rare Events Data, Political Analysis 9, 2001), 0 for a class without pixels; or K
        numbers with commas between them.
    labels
        The training labels, integers (H, W) each; ids from `num_classes` on (the ignore id) are left out.
    num_classes
        Number of classes K.

    Returns
    -------
    list or None
        K numbers; None for "none".

    Raises
    ------
    TrainingError
        The text is none of these, or does not have K numbers.
    """
    if text == NONE:
        return None
    if text == BALANCED:
        counts = np.zeros(num_classes, np.int64)
        for label in labels:
            counts += np.bincount(label.reshape(-1), minlength=num_classes)[:num_classes]
        shares = np.divide(counts.sum(), num_classes * counts, where=counts > 0, out=np.zeros(num_classes))
        return [float(f"{share:.6g}") for share in shares]
    given = parse_weights(text)
    if len(given) != num_classes:
        raise TrainingError(
            f"--class-weights gives {len(given)} numbers and the data have {num_classes} classes; give one for each."
        )
    return given


def parse_weights(text: str) -> list[float]:
    """Return the numbers of a list of class weights, each at least 0 and one of them above.

    Raises
    ------
    TrainingError
        The text is no such list.
    """
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if not any(weight > 0 for weight in given) or any(weight < 0 or not math.isfinite(weight) for weight in given):
        raise TrainingError(
            f"Class weights are {NONE}, {BALANCED}, or a number for each class with commas between them, each 0 or "
            f"more and one at least above 0; found {text!r}."
        )
    return given
