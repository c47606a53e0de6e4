"""Concatenations with a map that was brought to the front."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten

from segtool.export.passes.concat_last import CONCAT_LAST

# 5 channels, brought to the front behind something, and 2 of them as they are.
FRONT = [
    node("Relu", "x", "r"),
    node("Transpose", "r", "last", perm=[0, 2, 3, 1]),
    node("Tanh", "last", "t"),
    node("Transpose", "t", "front", perm=[0, 3, 1, 2]),
    node("Slice", "x begin end axis", "two"),
]
CONSTANTS = {name: np.array([value]) for name, value in (("begin", 0), ("end", 2), ("axis", 1))}


def graph(inputs="front two", *, axis=1, extra=(), outputs=("y",), reader="Conv"):
    attributes = {"pads": [1] * 4} if reader == "Conv" else {}
    last = node(reader, "c w" if reader == "Conv" else "c", "y", **attributes)
    nodes = [*FRONT, node("Concat", inputs, "c", axis=axis), last, *extra]
    channels = sum({"front": 5, "two": 2, "r": 5}[name] for name in inputs.split())
    constants = {**CONSTANTS, "w": random(4, channels, 3, 3, seed=1)}
    return make(nodes, constants, ["N", 5, 6, 8], outputs=outputs)


@pytest.mark.parametrize("axis", [1, -3])
@pytest.mark.parametrize(("inputs", "changes"), [("front two", 3), ("two front", 3), ("two front two", 4)])
def test_it_joins_channels_last_maps(inputs, changes, axis):
    before = graph(inputs, axis=axis)
    after = rewritten(before, CONCAT_LAST)
    # One on the way to the maps that are last already, one for each other map, one behind the Concat.
    assert kinds(after).count("Transpose") == changes
    assert kinds(after)[-3:] == ["Concat", "Transpose", "Conv"]
    assert_same(before, after, random(2, 5, 6, 8))


def test_maps_that_are_all_last_are_brought_to_the_front_together():
    other = [node("Tanh", "last", "t2"), node("Transpose", "t2", "front2", perm=[0, 3, 1, 2])]
    nodes = [*FRONT[:4], *other, node("Concat", "front front2", "c", axis=1), node("Conv", "c w", "y", pads=[1] * 4)]
    before = make(nodes, {"w": random(4, 10, 3, 3, seed=1)}, ["N", 5, 6, 8])
    after = rewritten(before, CONCAT_LAST)
    assert kinds(after).count("Transpose") == 2
    assert_same(before, after, random(2, 5, 6, 8))


@pytest.mark.parametrize(
    "changes",
    [{"axis": 2, "inputs": "front front"}, {"inputs": "two r"}, {"reader": "Relu"}],
    ids=["rows", "none of them last", "no convolution reads it"],
)
def test_others_are_left_alone(changes):
    if changes.get("axis") == 2:
        before = make([*FRONT, node("Concat", "front front", "y", axis=2)], CONSTANTS, ["N", 5, 6, 8])
    else:
        before = graph(**changes)
    rewritten(before, CONCAT_LAST, changes=0)


def test_a_map_that_others_read_in_front_is_refused():
    before = graph(extra=[node("Relu", "front", "z")], outputs=("y", "z"))
    rewritten(before, CONCAT_LAST, changes=0, refusals=["2 users"])
