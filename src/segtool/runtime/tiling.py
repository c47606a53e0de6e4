"""Predict images larger than the model's input in overlapping tiles, and merge the overlaps.

Near the border of a tile, the network sees only half of a pixel's surroundings, so these outputs are less reliable.
Scores (logits or probabilities) are merged: in the middle half of an overlap one tile fades into the next, and the
outer quarter is not used. Class ids cannot be merged: each pixel comes from the tile whose border is farthest from it,
so the tiles meet in the middle of the overlaps.

Tiles are processed row by row. Scores are yielded as soon as no later tile overlaps them: only the lines in which a
row of tiles fades into the next are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from segtool.array_types import FloatArray, UInt8Array
from segtool.contract import ModelContract
from segtool.errors import DataError
from segtool.images.pixels import Pixels

TileOption = Literal["auto", "never"] | tuple[int, int]
"""How to process an image larger than the model's input: "auto" (contract), "never" (resize), or (h, w) of tiles."""

Output = TypeVar("Output", bound=np.generic)

# Neighbouring tiles overlap by a quarter of a tile on each border.
_OVERLAP_SHARE = 4
# Tiles in one run: enough to keep the cores busy, few enough to bound the memory, and fewer for large tiles.
_TILES_PER_RUN = 8
_PIXELS_PER_RUN = 1 << 20


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it covers [start, start + its length) and owns [first, last).

    Attributes
    ----------
    start, first, last
        Pixels of the image; `first` and `last` lie in the middle of the overlaps.
    rise, fall
        Pixels around `first` and `last` in which it fades in and out; 0 at the image's border.
    """

    start: int
    first: int
    last: int
    rise: int = 0
    fall: int = 0

    @property
    def image_slice(self) -> slice:
        """The pixels of the image that the tile owns."""
        return slice(self.first, self.last)

    @property
    def tile_slice(self) -> slice:
        """The same pixels, in coordinates of the tile."""
        return slice(self.first - self.start, self.last - self.start)

    @property
    def begin(self) -> int:
        """First pixel of the image at which the tile contributes to a merge."""
        return self.first - self.rise // 2

    @property
    def settled(self) -> int:
        """Start of its fade-out: later tiles do not overlap the pixels from `begin` to here."""
        return self.last - self.fall // 2

    @property
    def merge_slice(self) -> slice:
        """The pixels that contribute to a merge, in coordinates of the tile."""
        return slice(self.begin - self.start, self.settled + self.fall - self.start)

    @property
    def settled_slice(self) -> slice:
        """The pixels of the image that the merge yields after this tile."""
        return slice(self.begin, self.settled)


class Block(NamedTuple):
    """Merged scores of a rectangle: its rows and columns in the image, and float32 (h, w, K)."""

    rows: slice
    columns: slice
    scores: FloatArray


def uses_tiles(contract: ModelContract, size: tuple[int, int], tile: TileOption) -> bool:
    """Return whether an image of `size` (height, width) is tiled instead of resized.

    With the policy "tile" in the contract, a smaller image is one tile, padded with its border pixels, because
    resizing would change the scale of the training.

    Raises
    ------
    DataError
        The requested tile size is not the fixed input size of the model.
    """
    if isinstance(tile, tuple) and tile != contract.size:
        raise DataError(
            f"The tile size is {tile[0]}x{tile[1]}, but the model's input size is fixed at {contract.height}x"
            f"{contract.width}; use that size, or export with `segtool export --size {tile[0]}x{tile[1]}`."
        )
    if tile == "auto":
        return contract.size_policy == "tile" and size != contract.size
    larger = size[0] > contract.height or size[1] > contract.width
    return tile != "never" and larger


def spans(length: int, tile: int) -> list[Span]:
    """Return evenly spaced tiles along one axis of `length` pixels; neighbours overlap by a quarter or more.

    The owned ranges cover the axis once: each border lies in the middle of an overlap. Two tiles fade into each other
    over half of their overlap, and over a quarter of a tile at most, so that no pixel is in two fades.
    """
    if length <= tile:
        return [Span(0, 0, length)]
    stride = tile - tile // _OVERLAP_SHARE
    count = 1 + -(-(length - tile) // stride)
    starts = [index * (length - tile) // (count - 1) for index in range(count)]
    borders = [0, *((left + tile + right) // 2 for left, right in pairwise(starts)), length]
    fades = [0, *(min((left + tile - right) // 2, tile // _OVERLAP_SHARE) for left, right in pairwise(starts)), 0]
    return [
        Span(start, borders[index], borders[index + 1], fades[index], fades[index + 1])
        for index, start in enumerate(starts)
    ]


def predict_tiled(
    pixels: Pixels, tile_size: tuple[int, int], predict: Callable[[UInt8Array], npt.NDArray[Output]]
) -> npt.NDArray[Output]:
    """Predict an image tile by tile; each pixel comes from the tile whose border is farthest from it.

    Parameters
    ----------
    pixels
        The image; a side shorter than the tile is padded with its border pixels.
    tile_size
        Height and width (h, w) of the model's input.
    predict
        Maps tiles, uint8 (n, h, w, C), to one output per pixel, (n, h, w).

    Returns
    -------
    numpy.ndarray
        (H, W), of the outputs' dtype.
    """
    result: npt.NDArray[Output] | None = None
    for row, column, output in _tile_outputs(pixels, tile_size, predict):
        if result is None:
            result = np.empty(pixels.size, dtype=output.dtype)
        result[row.image_slice, column.image_slice] = output[row.tile_slice, column.tile_slice]
    if result is None:
        raise DataError(f"The image has size {pixels.size}; expected at least one pixel.")
    return result


def merged_scores(
    pixels: Pixels, tile_size: tuple[int, int], predict: Callable[[UInt8Array], FloatArray]
) -> Iterator[Block]:
    """Predict the scores of an image tile by tile and merge them where tiles overlap.

    Parameters
    ----------
    pixels, tile_size
        As in `predict_tiled`.
    predict
        Maps tiles, uint8 (n, h, w, C), to float32 scores (n, h, w, K), which are changed in place.

    Yields
    ------
    Block
        Together the blocks cover the image once. Equal scores of overlapping tiles stay exactly the same.
    """
    left: FloatArray | None = None
    above: dict[int, FloatArray] = {}  # by column: the lines of the fade-out of the row of tiles above
    for row, column, output in _tile_outputs(pixels, tile_size, predict):
        scores = output[row.merge_slice, column.merge_slice]
        if column.rise and left is not None:
            _fade_in(scores.swapaxes(0, 1), left.swapaxes(0, 1))
        width, height = column.settled - column.begin, row.settled - row.begin
        left, scores = scores[:, width:], scores[:, :width]
        if row.rise:
            _fade_in(scores, above[column.start])
        above[column.start] = scores[height:].copy()  # a copy, because a view would keep the whole run in memory
        yield Block(row.settled_slice, column.settled_slice, scores[:height])


def _fade_in(scores: FloatArray, before: FloatArray) -> None:
    """Blend the first lines of `scores` with the scores `before`, in place: linear, along the first axis."""
    count = len(before)
    weights = ((np.arange(count, dtype=np.float32) + 0.5) / count).reshape(-1, 1, 1)
    scores[:count] = before + (scores[:count] - before) * weights  # in this form, equal scores stay exactly equal


def _tile_outputs(
    pixels: Pixels, tile_size: tuple[int, int], predict: Callable[[UInt8Array], npt.NDArray[Output]]
) -> Iterator[tuple[Span, Span, npt.NDArray[Output]]]:
    """Predict all tiles, a few in a run; yield the rows, columns and outputs of each, row by row of the grid."""
    height, width = pixels.size
    columns = spans(width, tile_size[1])
    grid = ((row, column) for row in spans(height, tile_size[0]) for column in columns)
    per_run = max(1, min(_TILES_PER_RUN, _PIXELS_PER_RUN // (tile_size[0] * tile_size[1])))
    while group := list(islice(grid, per_run)):
        outputs = predict(np.stack([cut_tile(pixels, row.start, column.start, tile_size) for row, column in group]))
        for (row, column), output in zip(group, outputs, strict=True):
            yield row, column, output


def cut_tile(pixels: Pixels, top: int, left: int, size: tuple[int, int]) -> UInt8Array:
    """Return one tile, padded with the last pixels beyond the lower and right border of the image."""
    height, width = pixels.size
    tile = pixels.read(slice(top, min(top + size[0], height)), slice(left, min(left + size[1], width)))
    below, right = size[0] - tile.shape[0], size[1] - tile.shape[1]
    if below == 0 and right == 0:
        return tile
    return np.pad(tile, ((0, below), (0, right), (0, 0)), mode="edge")
