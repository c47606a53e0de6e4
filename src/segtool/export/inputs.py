"""What a model sees of a data set: images resized to its input, or tiles of them where its contract says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from segtool.array_types import IndexArray, UInt8Array
from segtool.contract import ModelContract
from segtool.data.base import Dataset
from segtool.images.pixels import ArrayPixels
from segtool.runtime.tiling import cut_tile, spans, uses_tiles


def model_inputs(dataset: Dataset, pool: IndexArray, count: int, contract: ModelContract) -> Iterator[UInt8Array]:
    """Yield up to `count` inputs of a model, uint8 (h, w, C), spread evenly over some images of a data set.

    Parameters
    ----------
    dataset, pool
        The images, by their indices.
    count
        How many at most. Of images that are tiled some tiles each are taken, as many as it needs.
    contract
        The model's.
    """
    chosen = spread(pool, count)
    for position, index in enumerate(chosen):
        pixels = ArrayPixels(dataset.image(int(index)))
        if uses_tiles(contract, pixels.size, "auto"):
            share = count * (position + 1) // len(chosen) - count * position // len(chosen)
            yield from _tiles(pixels, share, position, contract)
        else:
            yield pixels.resized(contract.height, contract.width)


def spread(pool: IndexArray, count: int) -> IndexArray:
    """Return up to `count` of `pool`, evenly spread over it, in its order."""
    if len(pool) <= count:
        return pool
    return pool[np.arange(count) * len(pool) // count]


def _tiles(pixels: ArrayPixels, count: int, position: int, contract: ModelContract) -> Iterator[UInt8Array]:
    """Yield up to `count` of an image's tiles; the first is another one from image to image."""
    size = (contract.height, contract.width)
    rows, columns = (spans(length, tile) for length, tile in zip(pixels.size, size, strict=True))
    grid = [(row.start, column.start) for row in rows for column in columns]
    for number in range(min(count, len(grid))):
        # In even steps through the grid, from another place each time, and never twice the same.
        top, left = grid[(position + number * len(grid) // min(count, len(grid))) % len(grid)]
        yield cut_tile(pixels, top, left, size)
