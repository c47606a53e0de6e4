"""Contours are exact: filled, the polygons are the label map; each is a valid one, whatever the map."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from looped_contours import looped_regions

from segtool.images import arrays as bands
from segtool.predict.contours import Ring, trace_regions
from segtool.predict.geojson import write_contours

Labels = npt.NDArray[np.uint8]

MAPS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 2))
PINCHED = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 1], [0, 1, 1, 1]], np.uint8)
NESTED = np.pad(np.pad(np.pad(np.ones((1, 1), np.uint8), 1), 1, constant_values=1), 1)


def filled(ring: Ring, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels inside a ring: those with an odd number of its edges to their left."""
    crossings = np.zeros((shape[0], shape[1] + 1), np.int64)
    for (x, y), (other_x, other_y) in pairwise([*ring, ring[0]]):
        if x == other_x:
            crossings[min(y, other_y) : max(y, other_y), x] += 1
    inside: npt.NDArray[np.bool_] = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    return inside


def pieces_of(mask: npt.NDArray[np.bool_]) -> int:
    """How many 4-connected pieces a mask has, by flooding it."""
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, 0
    while left:
        found, front = found + 1, [left.pop()]
        while front:
            y, x = front.pop()
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    front.append(near)
    return found


@settings(max_examples=200)
@given(labels=MAPS, background=st.sampled_from([None, 0]))
@example(labels=PINCHED, background=0)
@example(labels=NESTED, background=0)
@example(labels=NESTED, background=None)
@example(labels=np.kron(NESTED, np.eye(2, dtype=np.uint8)), background=None)
def test_filled_they_are_the_label_map(labels: Labels, background: int | None) -> None:
    found = np.full(labels.shape, 0 if background is not None else 99)
    regions = list(trace_regions(labels, background_id=background))
    for region in regions:
        outer, *holes = (filled(ring, labels.shape) for ring in region.rings)
        inside = outer.copy()
        for hole in holes:
            assert (inside >= hole).all(), "holes lie in their ring and apart from each other"
            inside &= ~hole
        assert pieces_of(inside) == 1
        assert inside.sum() == region.area
        assert (found[inside] == (99 if background is None else 0)).all(), "regions lie apart"
        found[inside] = region.class_id
    np.testing.assert_array_equal(found, labels)
    assert len(regions) == sum(pieces_of(labels == index) for index in (0, 1, 2) if index != background)


@settings(max_examples=200)
@given(labels=MAPS, background=st.sampled_from([None, 0]))
@example(labels=PINCHED, background=0)
@example(labels=np.kron(NESTED, np.eye(2, dtype=np.uint8)), background=None)
@example(labels=np.zeros((3, 4), np.uint8), background=0)
def test_they_are_those_of_following_each_edge(labels: Labels, background: int | None) -> None:
    found = [tuple(region) for region in trace_regions(labels, background_id=background)]
    assert found == looped_regions(labels, background_id=background)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_large_maps_too(size: int) -> None:
    spots = np.random.default_rng(size).integers(0, 11, (120 // size, 160 // size), np.uint8)
    labels = np.kron(spots, np.ones((size, size), np.uint8))
    assert [tuple(region) for region in trace_regions(labels)] == looped_regions(labels)


@settings(max_examples=200)
@given(labels=MAPS)
@example(labels=PINCHED)
def test_rings_are_valid(labels: Labels) -> None:
    for region in trace_regions(labels):
        for ring, sign in zip(region.rings, [1] + [-1] * (len(region.rings) - 1), strict=True):
            assert len(set(ring)) == len(ring) >= 4, "a ring never meets itself"
            turns = list(pairwise([*ring, ring[0], ring[1]]))
            vertical = [x == other_x for (x, _), (other_x, _) in turns]
            assert all(one != other for one, other in pairwise(vertical)), "corners alone"
            assert sum(x * (other_y - y) for (x, y), (_, other_y) in turns[:-1]) * sign > 0


def test_a_map_of_many_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(3).integers(0, 3, (40, 30), dtype=np.uint16)
    whole = list(trace_regions(labels, background_id=2))
    monkeypatch.setattr(bands, "_PIXELS_PER_BAND", 70)

    def normal(regions: list[Any]) -> Counter[Any]:
        return Counter((one.class_id, one.area, frozenset(map(frozenset, one.rings))) for one in regions)

    assert normal(trace_regions(labels, background_id=2)) == normal(whole)


def test_the_file(tmp_path: Path) -> None:
    labels = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 2]], np.uint8)
    path = tmp_path / "a.geojson"
    write_contours(path, labels, ["background", "ring", "dot"], background_id=0)
    value = json.loads(path.read_text())
    assert (value["type"], value["width"], value["height"], value["background_id"]) == ("FeatureCollection", 3, 4, 0)
    assert "origin at the top left" in value["coordinates_are"]
    ring, dot = value["features"]
    assert ring["properties"] == {"class_id": 1, "class_name": "ring", "area": 8}
    assert ring["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]], [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]]],
    }
    assert dot["geometry"]["coordinates"] == [[[2, 3], [3, 3], [3, 4], [2, 4], [2, 3]]]


def test_a_map_of_background_alone(tmp_path: Path) -> None:
    write_contours(tmp_path / "a.geojson", np.zeros((2, 2), np.uint8), ["background"], background_id=0)
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
