"""The pixels of each class in the training data: class weights, and warnings about classes with too few."""

from __future__ import annotations

import logging

import numpy as np

from segtool.array_types import Int64Array
from segtool.data.base import Dataset
from segtool.text import counted, listed
from segtool.train.recipes import BALANCED, NONE, SOFTENED, parse_weights

RARE_SHARE = 0.001  # fraction of the counted pixels
FEW_IMAGES = 3
logger = logging.getLogger(__name__)


def class_weights(text: str, counts: Int64Array) -> list[float] | None:
    """Return the weight of a pixel of each class.

    Parameters
    ----------
    text
        "none", "balanced", "softened" or K comma-separated numbers, as in a resolved recipe. "balanced" is all pixels /
        (K x pixels of the class), so all classes have the same total weight (King, Zeng: Logistic Regression in Rare
        Events Data, Political Analysis 9, 2001); 0 for a class without pixels. "softened" is the square root of it,
        divided by its mean over the pixels.
    counts
        int64 (n, K): the pixels of each class in each training image.

    Returns
    -------
    list or None
        K numbers; None for "none".
    """
    if text == NONE:
        return None
    num_classes = counts.shape[1]
    if text in (BALANCED, SOFTENED):
        pixels = counts.sum(0)
        weights = np.divide(pixels.sum(), num_classes * pixels, where=pixels > 0, out=np.zeros(num_classes))
        if text == SOFTENED:
            weights = np.sqrt(weights)
            weights *= pixels.sum() / max(float((weights * pixels).sum()), 1.0)
        return [float(f"{weight:.6g}") for weight in weights]
    return parse_weights(text)


def warn_of_rare_classes(
    data: Dataset, counts: Int64Array, *, validation: Int64Array | None = None, remedy: str = ""
) -> None:
    """Warn of classes that are absent from the training part, or that have few pixels or images.

    Parameters
    ----------
    data
        The data set, for the names of the classes.
    counts
        int64 (n, K): the pixels of each class in each training image.
    validation
        The same of the validation images, for absent classes that occur there; None if unknown.
    remedy
        Options that show rare classes more often, which the warning suggests.
    """
    pixels, images = counts.sum(0), (counts > 0).sum(0)
    if (absent := np.flatnonzero(images == 0)).size:
        scored = np.zeros(len(images), np.int64) if validation is None else (validation > 0).sum(0)
        logger.warning(
            "No training image shows %s: the network cannot learn an absent class; add images of it, or remove it from "
            "the classes. It scores 0 if the truth or a prediction contains it; otherwise it is excluded from means.",
            listed([_absent(data.class_names[i], int(scored[i])) for i in absent]),
        )
    if np.count_nonzero(images) == 1:
        logger.warning(
            "All pixels of the training masks that count are %s, expected two classes or more: the network will learn "
            "to predict %s everywhere; check the masks with `segtool data info`.",
            *[data.class_names[int(images.argmax())]] * 2,
        )
    shares = pixels / max(1, int(pixels.sum()))
    rare = (images > 0) & ((shares < RARE_SHARE) | (images < FEW_IMAGES))
    if rare.any():
        found = [
            f"{data.class_names[i]} ({shares[i]:.3%} in {counted(int(images[i]), 'image')})"
            for i in np.flatnonzero(rare)
        ]
        logger.warning(
            "Rare classes in the %s: %s; expect that the network often misses them%s.",
            counted(len(counts), "training image"),
            listed(found),
            remedy and f", less often with {remedy}",
        )


def _absent(name: str, scored: int) -> str:
    return f"{name} ({counted(scored, 'validation image')} with it)" if scored else name
