"""The rewrite of what scores the classes in a graph that is quantized: random small graphs, and refusals."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.export.passes.scores_by_pixels import SCORES_BY_PIXELS

FEW = settings(max_examples=25)
SMALL = 1e-5
MAP = ["N", 6, 4, 5]


QUANTIZED = {"s": np.float32(0.05), "z": np.uint8(120)}


def integers(value, output):
    """Nodes that make a value integers and floats again."""
    return [node("QuantizeLinear", f"{value} s z", f"{output}_q"), node("DequantizeLinear", f"{output}_q s z", output)]


def scoring(*, classes=3, kernel=1, biased=True, source="d", **attributes):
    """A 1x1 convolution that reads integers, or (`source="x"`) the floats that they are made from."""
    conv = node("Conv", f"{source} w b" if biased else f"{source} w", "y", **attributes)
    constants = {**QUANTIZED, "w": random(classes, 6 // attributes.get("group", 1), kernel, kernel, seed=1)}
    constants |= {"b": random(classes, seed=2)} if biased else {}
    return make([*integers("x", "d"), conv], constants, MAP)


@FEW
@given(classes=st.integers(1, 5), biased=st.booleans(), seed=st.integers(0, 99))
def test_a_1x1_convolution_on_integers_is_a_matrix_product(classes, biased, seed):
    before = scoring(classes=classes, biased=biased)
    after = rewritten(before, SCORES_BY_PIXELS)
    added = ["Add"] if biased else []
    assert kinds(after) == ["QuantizeLinear", "DequantizeLinear", "Transpose", "MatMul", *added, "Transpose"]
    assert_same(before, after, random(2, 6, 4, 5, seed=seed), atol=SMALL)


def test_the_floats_that_become_integers_for_others_count_too():
    others = [*integers("x", "d"), node("Conv", "d v", "o"), node("Conv", "x w", "c"), node("Add", "c o", "y")]
    constants = {**QUANTIZED, "w": random(3, 6, 1, 1), "v": random(3, 6, 1, 1, seed=1)}
    before = make(others, constants, MAP)
    assert_same(before, rewritten(before, SCORES_BY_PIXELS, changes=2), random(2, 6, 4, 5), atol=SMALL)


@pytest.mark.parametrize("other", [{"classes": 6}, {"classes": 8}, {"kernel": 3}])
def test_other_convolutions_stay(other):
    rewritten(scoring(**other), SCORES_BY_PIXELS, changes=0)


def test_a_map_of_floats_alone_stays():
    constants = {"w": random(3, 6, 1, 1), "b": random(3)}
    rewritten(make([node("Conv", "x w b", "y")], constants, MAP), SCORES_BY_PIXELS, changes=0)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [({"strides": [2, 2]}, "strides"), ({"pads": [1] * 4}, "padding"), ({"auto_pad": "VALID"}, "automatic")],
)
def test_scores_by_pixels_refuses(attributes, reason):
    rewritten(scoring(**attributes), SCORES_BY_PIXELS, changes=0, refusals=[reason])


def test_scores_by_pixels_refuses_groups():
    constants = {**QUANTIZED, "w": random(2, 3, 1, 1)}
    before = make([*integers("x", "d"), node("Conv", "d w", "y", group=2)], constants, MAP)
    rewritten(before, SCORES_BY_PIXELS, changes=0, refusals=["groups"])


def test_scores_by_pixels_refuses_a_computed_bias():
    constants = {**QUANTIZED, "w": random(3, 6, 1, 1), "b": random(3)}
    nodes = [*integers("x", "d"), node("Relu", "b", "r"), node("Conv", "d w r", "y")]
    rewritten(make(nodes, constants, MAP), SCORES_BY_PIXELS, changes=0, refusals=["computed"])
