"""The regions of a label map as exact polygons along pixel edges, without smoothing or omission.

Coordinates are pixel edges: x to the right, y down, the origin at the top left corner of the image. Pixel (row,
column) is the square from (column, row) to (column + 1, row + 1). A region is 4-connected: pixels that share only a
corner are two regions. By the shoelace formula, an outer ring has a positive area and a hole a negative one. No ring
touches itself (RFC 7946, section 3.1.6; OGC 06-103r4, section 6.1.11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from segtool.array_types import Int64Array, IntegerArray
from segtool.images.arrays import row_bands

Point = tuple[int, int]
Ring = list[Point]

_OUTSIDE = -1


class Region(NamedTuple):
    """A region of one class.

    Attributes
    ----------
    class_id
        The class.
    rings
        Corners (x, y) of the outer ring, then of each hole; the first corner is not repeated.
    area
        Number of pixels.
    """

    class_id: int
    rings: list[Ring]
    area: int


class _Edges(NamedTuple):
    """Straight edges of outlines, int64 (N,): from `start` to `stop` on line `line`, with `class_id` on the left.

    Left is the direction of y, seen along x.
    """

    class_id: Int64Array
    line: Int64Array
    start: Int64Array
    stop: Int64Array

    @property
    def sign(self) -> Int64Array:
        """1 for edges in the direction of the axis, -1 for the opposite direction."""
        sign: Int64Array = np.sign(self.stop - self.start)
        return sign


class _Outlines(NamedTuple):
    """All closed outlines, of outer rings and of holes, int64.

    Attributes
    ----------
    class_id, area
        Class and area of each outline (M,); the area of a hole is negative.
    begins, ends
        Range of the corners of each outline (M,).
    x, y
        The corners of all outlines, one outline after the other.
    of_side
        The outline that each edge along y belongs to.
    """

    class_id: Int64Array
    area: Int64Array
    begins: Int64Array
    ends: Int64Array
    x: Int64Array
    y: Int64Array
    of_side: Int64Array


def trace_regions(labels: IntegerArray, *, background_id: int | None = None) -> Iterator[Region]:
    """Yield the regions of a label map (H, W) by class, without the background.

    Additional memory grows with the length of the outlines, not with the number of pixels.
    """
    flat = _edges(labels, background_id, forward=1)
    upright = _edges(labels.T, background_id, forward=-1)
    if not len(flat.line):
        return
    outlines = _outlines(flat, upright)
    around = _around(outlines, labels, upright)
    areas = np.zeros(len(around), np.int64)
    np.add.at(areas, around, outlines.area)
    holes = _holes_of(outlines, around, len(labels) + 1)
    rings_of = _rings(outlines, labels.shape)
    outer = np.flatnonzero(outlines.area > 0)
    outer = outer[np.argsort(outlines.class_id[outer], kind="stable")]
    for number, class_id, area in zip(
        outer.tolist(), outlines.class_id[outer].tolist(), areas[outer].tolist(), strict=True
    ):
        rings = rings_of(number)
        if len(rings) > 1:
            rings.sort(key=_area, reverse=True)
        for hole in holes.get(number, ()):
            rings += rings_of(hole)
        yield Region(class_id, rings, area)


def _edges(labels: IntegerArray, background_id: int | None, *, forward: int) -> _Edges:
    """Return the edges along the rows of a map; with `forward` 1, edges above a region point along the axis."""
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


def _pieces(ids: IntegerArray, others: IntegerArray, first: int, *, forward: int) -> Int64Array:
    """Return the longest runs in which `ids` (n, W) is one class and differs from `others`, int64 (4, N)."""
    is_edge = (ids != others) & (ids != _OUTSIDE)
    joined = is_edge[:, 1:] & is_edge[:, :-1] & (ids[:, 1:] == ids[:, :-1])
    begins, ends = is_edge.copy(), is_edge.copy()
    begins[:, 1:] &= ~joined
    ends[:, :-1] &= ~joined
    line, low = np.nonzero(begins)
    high = np.nonzero(ends)[1] + 1
    start, stop = (low, high) if forward > 0 else (high, low)
    return np.stack([ids[line, low].astype(np.int64), line + first, start, stop])


def _outlines(flat: _Edges, upright: _Edges) -> _Outlines:
    """Follow the edges around each outline; edges along x and along y alternate.

    If four edges of a class meet, two of its pixels touch in a corner. Each outline then turns left and stays with
    its own pixel.
    """
    after_flat = _matched(
        (flat.class_id, flat.stop, flat.line, flat.sign), (upright.class_id, upright.line, upright.start, upright.sign)
    )
    after_upright = _matched(
        (upright.class_id, upright.line, upright.stop, -upright.sign), (flat.class_id, flat.start, flat.line, flat.sign)
    )
    order, firsts = _cycles(after_upright[after_flat])
    sides = after_flat[order]
    x, y = (np.empty(2 * len(order), np.int64) for _ in range(2))
    x[::2], x[1::2] = flat.start[order], upright.line[sides]
    y[::2], y[1::2] = flat.line[order], upright.start[sides]
    begins, ends = 2 * firsts, 2 * np.append(firsts[1:], len(order))
    of_side = np.empty(len(order), np.int64)
    of_side[sides] = np.repeat(np.arange(len(firsts)), (ends - begins) // 2)
    after = np.append(y[1:], 0)
    after[ends - 1] = y[begins]
    area = np.add.reduceat(x * (after - y), begins)  # every second edge is along x and adds x dy = 0
    return _Outlines(flat.class_id[order[firsts]], area, begins, ends, x, y, of_side)


def _cycles(after: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the elements of a permutation cycle by cycle, and the position where each cycle begins.

    A cycle begins with its smallest element, and the cycles are sorted by it. Each round doubles the distance of the
    previous one, so the number of rounds is the number of binary digits of the longest cycle.
    """
    numbers = np.arange(len(after))
    least, ahead, last = numbers, after, np.empty(0, np.int64)
    while not np.array_equal(least, last):
        least, last, ahead = np.minimum(least, least[ahead]), least, ahead[ahead]
    is_first = least == numbers
    end = len(after)
    left = np.append(np.ones(end, np.int64), 0)  # number of elements from this one to the end of its cycle
    ahead = np.append(np.where(is_first[after], end, after), end)
    while (ahead != end).any():
        left, ahead = left + left[ahead], ahead[ahead]
    lengths = left[:end][is_first]
    firsts = np.cumsum(lengths) - lengths
    cycle = (np.cumsum(is_first) - 1)[least]
    order = np.empty(end, np.int64)
    order[firsts[cycle] + lengths[cycle] - left[:end]] = numbers
    return order, firsts


def _matched(ends: tuple[Int64Array, ...], starts: tuple[Int64Array, ...]) -> Int64Array:
    """Return the equal start for each end (class, x, y, sign); the sign decides between two candidates."""
    most = [int(values.max()) + 1 for values in starts]
    after = np.empty(len(ends[0]), np.int64)
    after[np.argsort(_as_numbers(ends, most))] = np.argsort(_as_numbers(starts, most))
    return after


def _as_numbers(places: tuple[Int64Array, ...], most: Sequence[int]) -> Int64Array:
    """Return one number for each (class, x, y, sign), in the same order."""
    class_id, x, y, sign = places
    numbers: Int64Array = 2 * ((class_id * most[1] + x) * most[2] + y) + (sign > 0)
    return numbers


def _rings(outlines: _Outlines, shape: tuple[int, ...]) -> Callable[[int], list[Ring]]:
    """Return a function that returns the rings of an outline: one, or several if the outline touches itself."""
    x, y = outlines.x.tolist(), outlines.y.tolist()
    begins, ends = outlines.begins.tolist(), outlines.ends.tolist()
    meeting = _meeting_themselves(outlines, shape)

    def rings_of(number: int) -> list[Ring]:
        begin, end = begins[number], ends[number]
        ring = list(zip(x[begin:end], y[begin:end], strict=True))
        return _split(ring) if number in meeting else [ring]

    return rings_of


def _meeting_themselves(outlines: _Outlines, shape: tuple[int, ...]) -> set[int]:
    """Return the outlines that contain a corner twice."""
    corners = (shape[0] + 1) * (shape[1] + 1)
    numbers = np.repeat(np.arange(len(outlines.area)), outlines.ends - outlines.begins)
    places = np.sort(numbers * corners + outlines.y * (shape[1] + 1) + outlines.x)
    return set((places[1:][places[1:] == places[:-1]] // corners).tolist())


def _split(ring: Ring) -> list[Ring]:
    """Split a ring at the points where it touches itself."""
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
    """Return the area inside, positive if it lies on the left."""
    return sum(x * (ring[(index + 1) % len(ring)][1] - y) for index, (x, y) in enumerate(ring))


def _around(outlines: _Outlines, labels: IntegerArray, upright: _Edges) -> Int64Array:
    """Return the outline of the outer ring for the region of each outline, (M,).

    The pixels to the left of a hole belong to the region, up to its next edge. That edge belongs to the outer ring, or
    to another hole of the same region.
    """
    height = len(labels) + 1
    edges = np.flatnonzero(upright.sign < 0)  # the region lies to the right of these edges
    keys = upright.line[edges] * height + upright.stop[edges]
    in_turn = np.argsort(keys)
    holes, x, y = _holes(outlines, height)
    sought = _begins_of_runs(labels, x - 1, y) * height + y
    left = edges[in_turn[np.searchsorted(keys[in_turn], sought, side="right") - 1]]
    around = np.arange(len(outlines.area))
    around[holes] = outlines.of_side[left]
    while (outlines.area[around] < 0).any():
        around = around[around]
    return around


def _holes(outlines: _Outlines, height: int) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the outlines of holes from left to right, and the uppermost leftmost corner of each."""
    least = np.minimum.reduceat(outlines.x * height + outlines.y, outlines.begins)
    holes = np.flatnonzero(outlines.area < 0)
    holes = holes[np.argsort(least[holes], kind="stable")]
    return (holes, *np.divmod(least[holes], height))


def _holes_of(outlines: _Outlines, around: Int64Array, height: int) -> dict[int, list[int]]:
    """Return the outlines of the holes for each outer ring with holes."""
    found: dict[int, list[int]] = {}
    holes = _holes(outlines, height)[0]
    for hole, outer in zip(holes.tolist(), around[holes].tolist(), strict=True):
        found.setdefault(outer, []).append(hole)
    return found


def _begins_of_runs(labels: IntegerArray, x: Int64Array, y: Int64Array) -> Int64Array:
    """Return the start of the run of equal pixels that ends at each given pixel from the left."""
    found = np.empty(len(x), np.int64)
    by_row = np.argsort(y, kind="stable")
    rows, firsts = np.unique(y[by_row], return_index=True)
    for row, first, last in zip(rows.tolist(), firsts.tolist(), [*firsts[1:].tolist(), len(x)], strict=False):
        chosen = by_row[first:last]
        changes = np.append(0, np.flatnonzero(np.diff(labels[row])) + 1)
        found[chosen] = changes[np.searchsorted(changes, x[chosen], side="right") - 1]
    return found
