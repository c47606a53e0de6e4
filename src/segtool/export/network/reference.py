"""What a network says, as its authors run it: its own output, and NumPy around it. The parity gate compares with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, UInt8Array
from segtool.export.network.interface import ImageInput
from segtool.export.network.scaling import InputScale
from segtool.export.network.uniform import SMALLEST, Reading


def reference(run: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], reading: Reading) -> Callable[[UInt8Array], Any]:
    """Return a function from raw pixels uint8 (N, H, W, C) to probabilities float32 (N, H, W, K).

    Parameters
    ----------
    run
        The network as it came: takes and gives arrays in its own layout.
    reading
        How it is to be read.
    """
    return lambda images: probabilities(run(network_input(images, reading.taken, reading.scale)), reading)


def network_input(images: UInt8Array, taken: ImageInput, scale: InputScale | None) -> npt.NDArray[Any]:
    """Return what a network takes of raw pixels uint8 (N, H, W, C), in its own layout; unscaled without a scale."""
    scaled: npt.NDArray[Any] = images if scale is None else scale.apply(images)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, 1)) if taken.layout == "NCHW" else scaled


def probabilities(output: npt.NDArray[Any], reading: Reading) -> FloatArray:
    """Return the probabilities, float32 (N, H, W, K), that a network's own output means."""
    maps = _bilinear(_as_maps(output, reading), reading.size)
    if reading.given.classes == 1:
        return _two_classes(maps, reading)
    if reading.end == "sigmoid":
        shares = np.maximum(maps, SMALLEST)
        return np.asarray(shares / shares.sum(-1, keepdims=True), np.float32)
    if reading.end == "logits":
        powers = np.exp(maps - maps.max(-1, keepdims=True))
        return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)
    return maps


def _as_maps(output: npt.NDArray[Any], reading: Reading) -> FloatArray:
    given = reading.given
    values = output.astype(np.float32)
    if given.form != "plane" and given.layout == "NCHW":
        values = np.moveaxis(values, 1, -1)
    return values.reshape(len(values), *given.size, given.classes)


def _two_classes(score: FloatArray, reading: Reading) -> FloatArray:
    share = score.astype(np.float64)
    if reading.end == "logits":
        share = 1 / (1 + np.exp(-np.clip(share, -700, 700)))
    above, below = share * (1 - reading.threshold), (1 - share) * reading.threshold
    return np.asarray(np.concatenate([below, above], axis=-1) / (above + below), np.float32)


def _bilinear(maps: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Resize (N, h, w, K) with half-pixel centres and clamped edges."""
    for axis, length in enumerate(size, start=1):
        own = maps.shape[axis]
        if own == length:
            continue
        place = np.clip((np.arange(length) + 0.5) * own / length - 0.5, 0, own - 1)
        low = np.floor(place).astype(int)
        part = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(4)])
        maps = maps.take(low, axis) * (1 - part) + maps.take(np.minimum(low + 1, own - 1), axis) * part
    return maps
