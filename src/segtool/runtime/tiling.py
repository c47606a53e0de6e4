"""Answers for images larger than the model: overlapping tiles, and which tile answers for which pixel.

Near its border a tile sees only half of a pixel's surroundings, so each pixel of the result is taken from the
tile in whose interior it lies deepest. For tiles on a grid that is a rectangle of each tile, which ends in the
middle of its overlaps; so nothing but the result itself is ever held for the whole image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.contract import ModelContract
from segtool.errors import DataError
from segtool.runtime.arrays import UInt8Array

TileOption = Literal["auto", "never"] | tuple[int, int]
"""What is done with an image larger than the model: "auto" as its contract says, "never" resize, or (h, w) tile."""

Answers = TypeVar("Answers", bound=np.generic)

# A quarter of the tile on each border is seen by its neighbour as well.
_OVERLAP_SHARE = 4
# Tiles in one run: enough to keep the cores busy, few enough to bound the memory.
_TILES_PER_RUN = 8


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it covers [start, start + length) and answers for [first, last)."""

    start: int
    first: int
    last: int

    @property
    def image_slice(self) -> slice:
        """Where in the image the tile answers."""
        return slice(self.first, self.last)

    @property
    def tile_slice(self) -> slice:
        """The same pixels, counted in the tile."""
        return slice(self.first - self.start, self.last - self.start)


def uses_tiles(contract: ModelContract, size: tuple[int, int], tile: TileOption) -> bool:
    """Tell whether an image of `size` (height, width) is tiled rather than resized.

    Raises
    ------
    DataError
        A tile size was asked for that is not the model's input size, which is fixed.
    """
    if isinstance(tile, tuple) and tile != (contract.height, contract.width):
        raise DataError(
            f"Tiles of {tile[0]}x{tile[1]} were asked for, but the model's input is fixed at "
            f"{contract.height}x{contract.width}; use that size, or `segtool export --size {tile[0]}x{tile[1]}` one."
        )
    larger = size[0] > contract.height or size[1] > contract.width
    asked = tile != "never" and (tile != "auto" or contract.size_policy == "tile")
    return larger and asked


def spans(length: int, tile: int) -> list[Span]:
    """Return the evenly spread tiles along one axis of `length` pixels, neighbours overlapping by a quarter or more.

    What they answer for covers the axis once: each border lies in the middle of an overlap.
    """
    if length <= tile:
        return [Span(0, 0, length)]
    stride = tile - tile // _OVERLAP_SHARE
    count = 1 + -(-(length - tile) // stride)
    starts = [index * (length - tile) // (count - 1) for index in range(count)]
    borders = [0, *((left + tile + right) // 2 for left, right in pairwise(starts)), length]
    return [Span(start, borders[index], borders[index + 1]) for index, start in enumerate(starts)]


def predict_tiled(
    image: UInt8Array, tile_size: tuple[int, int], predict: Callable[[UInt8Array], npt.NDArray[Answers]]
) -> npt.NDArray[Answers]:
    """Predict an image tile by tile.

    Parameters
    ----------
    image
        uint8 (H, W, C); a side shorter than the tile is continued with its border pixels.
    tile_size
        Height and width (h, w) of the model's input.
    predict
        Maps tiles, uint8 (n, h, w, C), to one answer per pixel, (n, h, w) or (n, h, w, K).

    Returns
    -------
    numpy.ndarray
        (H, W) or (H, W, K), of the answers' dtype.
    """
    height, width = image.shape[:2]
    padded = _continue_border(image, tile_size)
    grid = [(row, column) for row in spans(height, tile_size[0]) for column in spans(width, tile_size[1])]
    result: npt.NDArray[Answers] | None = None
    for start in range(0, len(grid), _TILES_PER_RUN):
        group = grid[start : start + _TILES_PER_RUN]
        answers = predict(np.stack([_cut(padded, row.start, column.start, tile_size) for row, column in group]))
        if result is None:
            result = np.empty((height, width, *answers.shape[3:]), dtype=answers.dtype)
        for (row, column), answer in zip(group, answers, strict=True):
            result[row.image_slice, column.image_slice] = answer[row.tile_slice, column.tile_slice]
    if result is None:
        raise DataError(f"The image has shape {image.shape}; expected at least one pixel.")
    return result


def _cut(image: UInt8Array, top: int, left: int, size: tuple[int, int]) -> UInt8Array:
    return image[top : top + size[0], left : left + size[1]]


def _continue_border(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    below, right = max(0, size[0] - image.shape[0]), max(0, size[1] - image.shape[1])
    if below == 0 and right == 0:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
