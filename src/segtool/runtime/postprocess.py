"""Class ids and probabilities of one image, resized or in tiles, from the output of the model's head.

The class ids are the arg-max of the probabilities, pixel by pixel. For a resized image, both are therefore resized back
by the nearest pixel centre, as in the evaluation. A network gives the same label map with each head. For logits, the
arg-max is taken after the softmax, because its rounding can make two values equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, IntegerArray, UInt8Array
from segtool.contract import ModelContract
from segtool.images.image_io import resize_labels
from segtool.images.pixels import Pixels
from segtool.runtime.tiling import TileOption, merged_scores, predict_tiled, uses_tiles

Run = Callable[[UInt8Array], npt.NDArray[Any]]
"""A function that runs the graph: uint8 (N, h, w, C) to the output of the head, (N, h, w) or (N, h, w, K)."""


def best(output: npt.NDArray[Any], contract: ModelContract) -> IntegerArray:
    """Return the class ids of a head's output with any leading dimensions."""
    if contract.head == "labels":
        return output
    return _ids(_to_probabilities(output, contract), contract)


def best_and_share(output: FloatArray, contract: ModelContract) -> tuple[IntegerArray, FloatArray]:
    """Return the class ids of logits or probabilities (..., K), and their probabilities, float32 (...)."""
    probabilities = _to_probabilities(output, contract)
    return _ids(probabilities, contract), probabilities.max(axis=-1)


def label(pixels: Pixels, contract: ModelContract, run: Run, tile: TileOption) -> IntegerArray:
    """Return the class ids (H, W) of one image."""
    if not uses_tiles(contract, pixels.size, tile):
        return resize_labels(best(_run_resized(pixels, contract, run), contract), *pixels.size)
    if contract.head == "labels":
        ids: IntegerArray = predict_tiled(pixels, contract.size, run)
        return ids
    return _merge(pixels, contract, run)


def label_and_score(
    pixels: Pixels, contract: ModelContract, run: Run, tile: TileOption
) -> tuple[IntegerArray, FloatArray]:
    """Return the class ids (H, W) as in `label`, and the probabilities float32 (H, W, K), from one run."""
    if uses_tiles(contract, pixels.size, tile):
        probabilities = np.empty((*pixels.size, contract.num_classes), dtype=np.float32)
        return _merge(pixels, contract, run, probabilities=probabilities), probabilities
    probabilities = _to_probabilities(_run_resized(pixels, contract, run), contract)
    return resize_labels(_ids(probabilities, contract), *pixels.size), resize_labels(probabilities, *pixels.size)


def _run_resized(pixels: Pixels, contract: ModelContract, run: Run) -> npt.NDArray[Any]:
    """Run one image at the model's input size; return the output of the head, (h, w) or (h, w, K)."""
    output: npt.NDArray[Any] = run(pixels.resized(*contract.size)[np.newaxis])[0]
    return output


def _merge(
    pixels: Pixels, contract: ModelContract, run: Run, *, probabilities: FloatArray | None = None
) -> IntegerArray:
    """Return the class ids of an image from merged tiles; fill `probabilities` (H, W, K) if given."""
    labels: IntegerArray = np.empty(pixels.size, dtype=contract.label_dtype)
    for rows, columns, scores in merged_scores(pixels, contract.size, run):
        found = _to_probabilities(scores, contract)
        labels[rows, columns] = _ids(found, contract)
        if probabilities is not None:
            probabilities[rows, columns] = found
    return labels


def _ids(probabilities: FloatArray, contract: ModelContract) -> IntegerArray:
    ids: IntegerArray = np.argmax(probabilities, axis=-1).astype(contract.label_dtype)
    return ids


def _to_probabilities(output: FloatArray, contract: ModelContract) -> FloatArray:
    return softmax(output) if contract.head == "logits" else output


def softmax(logits: FloatArray) -> FloatArray:
    """Return the softmax over the last axis; the maximum is subtracted first so that exp cannot overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return result
