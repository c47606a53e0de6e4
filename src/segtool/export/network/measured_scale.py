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
from segtool.metrics import Scores, most_frequent
from segtool.text import counted, percent

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
        None leads clearly, or is better than one class everywhere; the message holds the scores.
    """
    pool = spread(data.proving, IMAGES)
    scores = {scale: _score(network(scale), data, pool, size) for scale in scales_for(taken.channels)}
    ranked = sorted(scores, key=lambda scale: -scores[scale].mean_iou)
    table = ", ".join(f"{scale.name} {percent(scores[scale].mean_iou)}" for scale in ranked)
    images = counted(len(pool), "image")
    if unclear := _unclear(*(scores[scale] for scale in ranked[:2])):
        raise ExportError(
            "The network takes float32 pixels, and how they are scaled cannot be told from its mean IoU on "
            f"{images} ({table}): {unclear}. Give the scaling of its training with --input-scale, one of "
            f"{', '.join(item.name for item in ranked)}, or {HELP}."
        )
    logger.warning(
        "Input scaling %s, found by the mean IoU on %s: %s; --input-scale sets another.",
        ranked[0].name,
        images,
        table,
    )
    return ranked[0]


def _score(run: Callable[[UInt8Array], FloatArray], data: ExportData, pool: IndexArray, size: Size) -> Scores:
    return evaluate_labels(lambda images: run(images).argmax(-1), data.dataset, pool, size=size, batch=4)


def _unclear(best: Scores, second: Scores) -> str:
    """Return why the best scaling is not taken; an empty text where it is."""
    if not best.mean_iou - second.mean_iou >= CLEAR_LEAD:
        return f"none leads by {100 * CLEAR_LEAD:g} points"
    constant = most_frequent(best.to_dict()["classes"])
    if constant is not None and best.pixel_accuracy <= constant[1]:
        return f"with none are more pixels right than if all were {constant[0]}"
    return ""
