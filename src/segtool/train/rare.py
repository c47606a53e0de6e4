"""Classes that a training has too little of, said before it begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.base import Dataset
from segtool.text import counted

RARE_SHARE = 0.001  # of the pixels that count
FEW_IMAGES = 3
logger = logging.getLogger(__name__)


def warn_of_rare_classes(
    data: Dataset, labels: Sequence[npt.NDArray[np.integer[Any]]], *, shown_more: bool = False
) -> None:
    """Warn of the classes that the training part has not, or in few pixels or images.

    Parameters
    ----------
    data
        For the names of the classes.
    labels
        Of the training part, integers (H, W) each.
    shown_more
        Whether crops are drawn around them already, which is what the warning tells to do otherwise.
    """
    counts = np.array([np.bincount(label.ravel(), minlength=data.num_classes)[: data.num_classes] for label in labels])
    pixels, images = counts.sum(0), (counts > 0).sum(0)
    if absent := [name for name, count in zip(data.class_names, images, strict=True) if not count]:
        logger.warning(
            "No training image shows %s: the network will not learn that; add images of it, or take it out of the "
            "classes. In figures it scores 0 where it is seen or predicted, and is left out elsewhere.",
            ", ".join(absent),
        )
    shares = pixels / max(1, int(pixels.sum()))
    rare = (images > 0) & ((shares < RARE_SHARE) | (images < FEW_IMAGES))
    if rare.any():
        found = [
            f"{data.class_names[i]} ({shares[i]:.3%} in {counted(int(images[i]), 'image')})"
            for i in np.flatnonzero(rare)
        ]
        logger.warning(
            "Rare in the %s: %s; expect the network to miss them often%s.",
            counted(len(labels), "training image"),
            ", ".join(found),
            "" if shown_more else ", less so with --crop HxW --rare-crops 0.5",
        )
