"""Maps to tokens and back, with channels last in between."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.export.passes.tokens import TOKENS

TO_TOKENS = [node("Reshape", "x joined", "r"), node("Transpose", "r", "y", perm=[0, 2, 1])]
TO_MAP = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("Reshape", "t map", "y")]


def joined(*shape):
    return {"joined": np.array(shape, np.int64)}


@settings(max_examples=25)
@given(*[st.integers(1, 6)] * 4)
def test_to_tokens_and_back(batch, channels, height, width):
    before = make(TO_TOKENS, joined(0, channels, height * width), ["N", channels, height, width])
    after = rewritten(before, TOKENS)
    assert kinds(after) == ["Transpose", "Reshape"]
    x = random(batch, channels, height, width)
    assert_same(before, after, x)
    constants = {"map": np.array([-1, channels, height, width])}
    before = make(TO_MAP, constants, ["N", height * width, channels])
    after = rewritten(before, TOKENS)
    assert kinds(after) == ["Reshape", "Transpose"]
    assert_same(before, after, random(batch, height * width, channels))


@pytest.mark.parametrize(
    ("nodes", "constants", "shape"),
    [
        (TO_TOKENS, joined(0, 12, 10), ["N", 6, 4, 5]),  # not the rows of a channel one behind the other
        (TO_TOKENS, joined(0, 6, 20), ["N", 12, 10]),  # no map
        ([TO_TOKENS[0], node("Transpose", "r", "y", perm=[0, 1, 2])], joined(0, 6, 20), ["N", 6, 4, 5]),
        (TO_MAP, {"map": np.array([-1, 5, 4, 6])}, ["N", 20, 6]),  # channels and columns mixed
        ([node("Reshape", "x map", "y")], {"map": np.array([-1, 6, 4, 5])}, ["N", 6, 20]),
    ],
    ids=["other channels", "no map", "no swap", "mixed", "nothing before"],
)
def test_other_shapes_are_left_alone(nodes, constants, shape):
    rewritten(make(nodes, constants, shape), TOKENS, changes=0)


def test_what_others_use_too_is_refused():
    before = make([*TO_TOKENS, node("Relu", "r", "z")], joined(0, 6, 20), ["N", 6, 4, 5], outputs=("y", "z"))
    rewritten(before, TOKENS, changes=0, refusals=["2 users"])
    before = make([*TO_MAP, node("Relu", "t", "z")], {"map": np.array([-1, 6, 4, 5])}, ["N", 20, 6], outputs=("y", "z"))
    rewritten(before, TOKENS, changes=0, refusals=["2 users"])
