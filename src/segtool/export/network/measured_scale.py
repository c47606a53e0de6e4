"""The scaling of the pixels of a network that does none itself, found out by its scores on images with masks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from segtool.array_types import FloatArray, IndexArray, UInt8Array
from segtool.data.base import Size
from segtool.errors import ExportError
from segtool.evaluate.scoring import evaluate_labels
from segtool.export.data import ExportData, spread
from segtool.export.network.interface import ImageInput
from segtool.export.network.scaling import HELP, InputScale, scales_for
from segtool.text import percent

logger = logging.getLogger(__name__)
IMAGES = 32
CLEAR_LEAD = 0.05
"""Points of mean IoU, 0..1, that the best scaling leads by."""


def measured_scale(
    network: Callable[[InputScale], Callable[[UInt8Array], FloatArray]],
    taken: ImageInput,
    data: ExportData,
    size: Size,
) -> InputScale:
    """Return the scaling with which a network scores clearly best.

    Parameters
    ----------
    network
        Takes a scaling; returns a function from raw pixels uint8 (N, H, W, C) to probabilities (N, H, W, K).
    taken
        The network's input.
    data
        Up to `IMAGES` images of the validation split are scored, training ones where there are none.
    size
        (height, width) of the network.

    Raises
    ------
    ExportError
        None leads clearly; the message holds the scores.
    """
    pool = spread(data.split.val if data.split.val.size else data.split.train, IMAGES)
    scores = {scale: _score(network(scale), data, pool, size) for scale in scales_for(taken.channels)}
    ranked = sorted(scores, key=lambda scale: -scores[scale])
    table = ", ".join(f"{scale.name} {percent(scores[scale])}" for scale in ranked)
    if not scores[ranked[0]] - scores[ranked[1]] >= CLEAR_LEAD:
        raise ExportError(
            "The network takes float32 pixels, and how they are scaled cannot be told from its mean IoU on "
            f"{len(pool)} images ({table}): none leads by {100 * CLEAR_LEAD:g} points. Give that of its training "
            f"with --input-scale, one of {', '.join(item.name for item in ranked)}, or {HELP}."
        )
    logger.warning(
        "Input scaling %s, found by the mean IoU on %d images: %s; --input-scale sets another.",
        ranked[0].name,
        len(pool),
        table,
    )
    return ranked[0]


def _score(run: Callable[[UInt8Array], FloatArray], data: ExportData, pool: IndexArray, size: Size) -> float:
    return evaluate_labels(lambda images: run(images).argmax(-1), data.dataset, pool, size=size, batch=4).mean_iou
