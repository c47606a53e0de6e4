"""The regions of a label map as polygons along the edges of its pixels: exact, nothing is smoothed or left out.

Coordinates are pixel edges: x to the right, y down, the origin at the image's top left corner, so that pixel (row,
column) is the square from (column, row) to (column + 1, row + 1). A region is 4-connected: pixels that meet in a corner
alone are two regions. Its outer ring has a positive area by the shoelace formula on these numbers, its holes a negative
one, and no ring meets itself (RFC 7946, section 3.1.6; OGC 06-103r4, section 6.1.11).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segtool.runtime.arrays import IntegerArray, row_bands

Point = tuple[int, int]
Ring = list[Point]
_Indices = npt.NDArray[np.int64]

_OUTSIDE = -1


@dataclass(frozen=True)
class Region:
    """A region of one class.

    Attributes
    ----------
    class_id
        The class.
    rings
        Corners (x, y) of the outer ring, then of each hole; a ring does not repeat its first corner.
    """

    class_id: int
    rings: list[Ring]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return sum(map(_area, self.rings))


class _Edges(NamedTuple):
    """Straight pieces of outlines, int64 (N,): from `start` to `stop` along line `line`, with `class_id` on their left.

    Left is where y points to for one who looks along x.
    """

    class_id: _Indices
    line: _Indices
    start: _Indices
    stop: _Indices

    @property
    def sign(self) -> _Indices:
        """1 for edges along the axis, -1 for those against it."""
        sign: _Indices = np.sign(self.stop - self.start)
        return sign


class _Outline(NamedTuple):
    """A closed outline: its class, its corners, and its edges along y by their number."""

    class_id: int
    ring: Ring
    sides: list[int]


def trace_regions(labels: IntegerArray, *, background_id: int | None = None) -> list[Region]:
    """Return the regions of a label map (H, W) by class, without those of the background.

    Memory beside the map grows with the length of the outlines, not with the number of pixels.
    """
    flat = _edges(labels, background_id, forward=1)
    upright = _edges(labels.T, background_id, forward=-1)
    regions: list[Region] = []
    holes: list[_Outline] = []
    owners = np.empty(len(upright.line), np.int64)
    for outline in _outlines(flat, upright):
        if _area(outline.ring) < 0:
            holes.append(outline)
            continue
        owners[outline.sides] = len(regions)
        regions.append(Region(outline.class_id, sorted(_split(outline.ring), key=_area, reverse=True)))
    for outline, number in _with_owners(holes, labels, upright, owners):
        regions[number].rings.extend(_split(outline.ring))
    return sorted(regions, key=lambda region: region.class_id)


def _edges(labels: IntegerArray, background_id: int | None, *, forward: int) -> _Edges:
    """Return the edges along the rows of a map; those above a region run along the axis where `forward` is 1."""
    background = _OUTSIDE if background_id is None else background_id
    found = [np.empty((4, 0), np.int64)]
    for rows in row_bands(len(labels) + 1, labels.shape[1]):
        block = np.full((rows.stop - rows.start + 1, labels.shape[1]), _OUTSIDE, np.int32)
        inside = labels[max(0, rows.start - 1) : rows.stop]
        first = 1 if rows.start == 0 else 0
        block[first : first + len(inside)] = inside
        block[block == background] = _OUTSIDE
        found += [
            _pieces(block[1:], block[:-1], rows.start, forward=forward),
            _pieces(block[:-1], block[1:], rows.start, forward=-forward),
        ]
    return _Edges(*np.concatenate(found, axis=1))


def _pieces(ids: IntegerArray, others: IntegerArray, first: int, *, forward: int) -> _Indices:
    """Return the longest pieces along which `ids` (n, W) is one class and differs from `others`, int64 (4, N)."""
    is_edge = (ids != others) & (ids != _OUTSIDE)
    joined = is_edge[:, 1:] & is_edge[:, :-1] & (ids[:, 1:] == ids[:, :-1])
    begins, ends = is_edge.copy(), is_edge.copy()
    begins[:, 1:] &= ~joined
    ends[:, :-1] &= ~joined
    line, low = np.nonzero(begins)
    high = np.nonzero(ends)[1] + 1
    start, stop = (low, high) if forward > 0 else (high, low)
    return np.stack([ids[line, low].astype(np.int64), line + first, start, stop])


def _outlines(flat: _Edges, upright: _Edges) -> Iterator[_Outline]:
    """Follow the edges around each outline; those along x and those along y take turns.

    Where four edges of a class meet, two of its pixels touching in a corner, each outline turns to its left and stays
    with its own pixel.
    """
    after_flat = _matched(
        (flat.class_id, flat.stop, flat.line, flat.sign), (upright.class_id, upright.line, upright.start, upright.sign)
    ).tolist()
    after_upright = _matched(
        (upright.class_id, upright.line, upright.stop, -upright.sign), (flat.class_id, flat.start, flat.line, flat.sign)
    ).tolist()
    classes, lefts, rows = (values.tolist() for values in (flat.class_id, flat.start, flat.line))
    columns, tops = upright.line.tolist(), upright.start.tolist()
    is_left = bytearray(b"\1" * len(classes))
    for first in range(len(classes)):
        outline = _Outline(classes[first], [], [])
        edge = first
        while is_left[edge]:
            is_left[edge] = 0
            side = after_flat[edge]
            outline.ring.extend([(lefts[edge], rows[edge]), (columns[side], tops[side])])
            outline.sides.append(side)
            edge = after_upright[side]
        if outline.ring:
            yield outline


def _matched(ends: tuple[_Indices, ...], starts: tuple[_Indices, ...]) -> _Indices:
    """Return, for each end (class, x, y, sign), the start that is equal to it; sign decides where two are."""
    after = np.empty(len(ends[0]), np.int64)
    after[np.lexsort(ends[::-1])] = np.lexsort(starts[::-1])
    return after


def _split(ring: Ring) -> list[Ring]:
    """Cut a ring where it meets itself, so that none of the pieces does."""
    if len(set(ring)) == len(ring):
        return [ring]
    pieces: list[Ring] = []
    path: Ring = []
    place: dict[Point, int] = {}
    for point in ring:
        if point in place:
            pieces.append(path[place[point] :])
            for passed in path[place[point] + 1 :]:
                del place[passed]
            del path[place[point] + 1 :]
        else:
            place[point] = len(path)
            path.append(point)
    return [*pieces, path]


def _area(ring: Ring) -> int:
    """Return the area inside, positive where it lies on the left; every second edge is along x and adds x dy = 0."""
    return sum(x * (ring[(index + 1) % len(ring)][1] - y) for index, (x, y) in enumerate(ring))


def _with_owners(
    holes: list[_Outline], labels: IntegerArray, upright: _Edges, owners: _Indices
) -> Iterator[tuple[_Outline, int]]:
    """Yield the outlines of holes with the number of the region around each, and note it in `owners`.

    The pixels to the left of a hole are the region's, up to an edge of it further left: of its outer ring, or of
    another hole, whose owner is known, because holes are taken from the left to the right.
    """
    edges = np.flatnonzero(upright.sign < 0)  # the region is to the right of these
    height = len(labels) + 1
    keys = upright.line[edges] * height + upright.stop[edges]
    edges, keys = edges[np.argsort(keys)], np.sort(keys)
    for hole in sorted(holes, key=lambda outline: min(outline.ring)):
        x, y = min(hole.ring)
        others = np.flatnonzero(labels[y, :x] != hole.class_id)
        left = int(others[-1]) + 1 if len(others) else 0
        number = int(owners[edges[np.searchsorted(keys, left * height + y, side="right") - 1]])
        owners[hole.sides] = number
        yield hole, number
