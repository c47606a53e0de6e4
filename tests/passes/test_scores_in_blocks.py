"""Scores of few classes in blocks: the labels stay, and every refusal."""

import numpy as np
import pytest
from comparing import kinds, make, node, rewritten, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from segtool.export.passes.scores_in_blocks import SCORES_IN_BLOCKS


def labelled(classes=4, kernel=(3, 3), *, size=(8, 12), bias=True, channels=3, extra=(), outputs=("y",), **conv):
    """A convolution, and the class with the largest score as one byte a pixel."""
    random = np.random.default_rng(1)
    pads = [side // 2 for side in kernel] + [(side - 1) // 2 for side in kernel]
    nodes = [
        node("Conv", "x w b" if bias else "x w", "s", **{"pads": pads, **conv}),
        node("ArgMax", "s", "k", axis=1, keepdims=0),
        node("Cast", "k", "y", to=TensorProto.UINT8),
        *extra,
    ]
    shape = (classes, channels // conv.get("group", 1), *kernel)
    constants = {"w": random.normal(size=shape).astype(np.float32), "b": random.normal(size=classes).astype(np.float32)}
    return make(nodes, constants, ["N", channels, *size], out_type=TensorProto.UINT8, outputs=outputs)


@settings(max_examples=60)
@given(
    classes=st.integers(1, 8),
    kernel=st.tuples(st.integers(1, 5), st.integers(2, 5)),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_labels_of_few_classes(classes, kernel, bias, seed):
    before = labelled(classes, kernel, bias=bias)
    after = rewritten(before, SCORES_IN_BLOCKS)
    assert "ConvTranspose" not in kinds(after)
    x = np.random.default_rng(seed).normal(size=(2, 3, 8, 12)).astype(np.float32)
    np.testing.assert_array_equal(run(after, x), run(before, x))


@pytest.mark.parametrize(("classes", "channels"), [(1, 16), (2, 16), (3, 12), (4, 16), (5, 10), (8, 16)])
def test_blocks_fill_16_channels(classes, channels):
    after = rewritten(labelled(classes), SCORES_IN_BLOCKS)
    assert channels in {item.dims[0] for item in after.graph.initializer if len(item.dims) == 4}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strides": [2, 2]}, "strides"),
        ({"dilations": [2, 2], "pads": [2] * 4}, "dilation"),
        ({"group": 4, "channels": 4}, "groups"),
        ({"pads": [0] * 4}, "change the size"),
        ({"size": (7, 12)}, "7 x 12 pixels are not blocks of 2 x 2"),
        ({"extra": [node("Relu", "s", "r"), node("Cast", "r", "z", to=TensorProto.UINT8)], "outputs": "yz"}, "2 users"),
    ],
)
def test_scores_that_stay(options, reason):
    rewritten(labelled(**options), SCORES_IN_BLOCKS, changes=0, refusals=[reason])


@pytest.mark.parametrize("options", [{"classes": 9}, {"kernel": (1, 1)}])
def test_scores_that_gain_nothing(options):
    rewritten(labelled(**options), SCORES_IN_BLOCKS, changes=0)
