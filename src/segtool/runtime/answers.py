"""Class ids and probabilities of one image, resized or by tiles, from what a model's head gives for its input size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.images.arrays import FloatArray, IntegerArray, UInt8Array
from segtool.images.image_io import resize_labels
from segtool.images.pixels import Pixels
from segtool.runtime.scores import resize_planes, softmax
from segtool.runtime.tiling import TileOption, merged_scores, predict_tiled, uses_tiles

Run = Callable[[UInt8Array], npt.NDArray[Any]]
"""Runs the graph: uint8 (N, h, w, C) to the head's own output, (N, h, w) or (N, h, w, K)."""


def best(output: npt.NDArray[Any], contract: ModelContract) -> IntegerArray:
    """Return the class ids of a head's output, whatever its leading dimensions."""
    if contract.head == "labels":
        return output
    ids: IntegerArray = np.argmax(output, axis=-1).astype(contract.label_dtype)
    return ids


def largest_share(output: FloatArray, contract: ModelContract) -> FloatArray:
    """Return the probability of the best class of logits or probabilities (..., K), float32 (...)."""
    shares: FloatArray = _to_shares(output, contract).max(axis=-1)
    return shares


def label(pixels: Pixels, contract: ModelContract, run: Run, tile: TileOption) -> IntegerArray:
    """Return the class ids (H, W) of one image."""
    if not uses_tiles(contract, pixels.size, tile):
        return resize_labels(best(_run_resized(pixels, contract, run), contract), *pixels.size)
    if contract.head == "labels":
        ids: IntegerArray = predict_tiled(pixels, (contract.height, contract.width), run)
        return ids
    return _merge(pixels, contract, run)


def label_and_score(
    pixels: Pixels, contract: ModelContract, run: Run, tile: TileOption
) -> tuple[IntegerArray, FloatArray]:
    """Return the class ids (H, W), those of `label`, and the probabilities float32 (H, W, K) from one run."""
    if uses_tiles(contract, pixels.size, tile):
        shares = np.empty((*pixels.size, contract.num_classes), dtype=np.float32)
        return _merge(pixels, contract, run, shares=shares), shares
    output = _run_resized(pixels, contract, run)
    labels = resize_labels(best(output, contract), *pixels.size)
    return labels, resize_planes(_to_shares(output, contract), *pixels.size)


def _run_resized(pixels: Pixels, contract: ModelContract, run: Run) -> npt.NDArray[Any]:
    """Run one image at the model's size; return the head's output, (h, w) or (h, w, K)."""
    output: npt.NDArray[Any] = run(pixels.resized(contract.height, contract.width)[np.newaxis])[0]
    return output


def _merge(pixels: Pixels, contract: ModelContract, run: Run, *, shares: FloatArray | None = None) -> IntegerArray:
    """Return the class ids of an image by tiles whose scores are merged; fill in `shares` (H, W, K) where given."""
    labels: IntegerArray = np.empty(pixels.size, dtype=contract.label_dtype)
    for rows, columns, scores in merged_scores(pixels, (contract.height, contract.width), run):
        labels[rows, columns] = best(scores, contract)
        if shares is not None:
            shares[rows, columns] = _to_shares(scores, contract)
    return labels


def _to_shares(output: FloatArray, contract: ModelContract) -> FloatArray:
    return softmax(output) if contract.head == "logits" else output
