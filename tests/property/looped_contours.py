"""The regions of a label map followed edge by edge, in plain loops: what `segtool.predict.contours` must agree with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segtool.array_types import IntegerArray
from segtool.predict.contours import Point, Ring, _Edges, _edges

_Indices = npt.NDArray[np.int64]


class _Outline(NamedTuple):
    """A closed outline: its class, its corners, and its edges along y by their number."""

    class_id: int
    ring: Ring
    sides: list[int]


def looped_regions(labels: IntegerArray, *, background_id: int | None = None) -> list[tuple[int, list[Ring], int]]:
    """Return the regions as (class_id, rings, area)."""
    flat = _edges(labels, background_id, forward=1)
    upright = _edges(labels.T, background_id, forward=-1)
    regions: list[tuple[int, list[Ring]]] = []
    holes: list[_Outline] = []
    owners = np.empty(len(upright.line), np.int64)
    for outline in _outlines(flat, upright):
        if _area(outline.ring) < 0:
            holes.append(outline)
            continue
        owners[outline.sides] = len(regions)
        regions.append((outline.class_id, sorted(_split(outline.ring), key=_area, reverse=True)))
    for outline, number in _with_owners(holes, labels, upright, owners):
        regions[number][1].extend(_split(outline.ring))
    ordered = sorted(regions, key=lambda region: region[0])
    return [(class_id, rings, sum(map(_area, rings))) for class_id, rings in ordered]


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
