"""Warnings before a training about classes with too little data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.data.base import Dataset
from segtool.text import counted

RARE_SHARE = 0.001  # fraction of the counted pixels
FEW_IMAGES = 3
logger = logging.getLogger(__name__)


def warn_of_rare_classes(
    data: Dataset, labels: Sequence[npt.NDArray[np.integer[Any]]], *, shown_more: bool = False
) -> None:
    """Warn of classes that are absent from the training part, or that have few pixels or images.

    Parameters
    ----------
    data
        The data set, for the names of the classes.
    labels
        The labels of the training part, integers (H, W) each.
    shown_more
        Whether crops are drawn around rare classes; if not, the warning suggests it.
    """
    counts = np.array([np.bincount(label.ravel(), minlength=data.num_classes)[: data.num_classes] for label in labels])
    pixels, images = counts.sum(0), (counts > 0).sum(0)
    if absent := [name for name, count in zip(data.class_names, images, strict=True) if not count]:
        logger.warning(
            "No training image shows %s: the network cannot learn an absent class; add images of it, or remove it from "
            "the classes. It scores 0 if the truth or a prediction contains it; otherwise it is excluded from means.",
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
            "Rare classes in the %s: %s; expect that the network often misses them%s.",
            counted(len(labels), "training image"),
            ", ".join(found),
            "" if shown_more else ", less often with --crop HxW --rare-crops 0.5",
        )
