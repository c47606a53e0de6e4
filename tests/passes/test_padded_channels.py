"""Channels of zeros around depthwise convolutions: the same function, and every refusal."""

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten

from segtool.export.passes.padded_channels import PADDED_CHANNELS

SIX = {"low": np.float32(0), "high": np.float32(6)}


def constants(count, *, bias=True):
    return {
        "w": random(count, 2, 1, 1, seed=1),
        **({"b": random(count, seed=2)} if bias else {}),
        "d": random(count, 1, 3, 3, seed=3),
        "e": random(count, seed=4),
        "v": random(3, count, 1, 1, seed=5),
    }


def inverted(count=24, *, middle=(), last="k", bias=True, extra=(), outputs=("y",), more=()):
    """Expand, a depthwise convolution, `middle` from k on, and the projection of `last`."""
    nodes = [
        node("Conv", "x w b" if bias else "x w", "c"),
        node("Relu", "c", "a"),
        node("Conv", "a d e", "k", pads=[1] * 4, group=count),
        *middle,
        node("Conv", f"{last} v", "y"),
        *extra,
    ]
    return make(nodes, {**constants(count, bias=bias), **dict(more)}, ["N", 2, 6, 5], outputs=outputs)


def groups(model):
    return [next((item.i for item in found.attribute if item.name == "group"), 1) for found in model.graph.node]


MIDDLES = {
    "nothing": ([], "k"),
    "clip": ([node("Clip", "k low high", "l")], "l"),
    "hard swish": ([node("HardSigmoid", "k", "h"), node("Mul", "k h", "l")], "l"),
    "scalar": ([node("Add", "k high", "l")], "l"),
    "pooling": ([node("MaxPool", "k", "l", kernel_shape=[2, 2])], "l"),
    "second depthwise": ([node("Relu", "k", "r"), node("Conv", "r d2", "l", group=24)], "l"),
    "gate": (
        [
            node("GlobalAveragePool", "k", "p"),
            node("Conv", "p f1", "q"),
            node("Relu", "q", "r"),
            node("Conv", "r f2 e2", "s"),
            node("Sigmoid", "s", "t"),
            node("Mul", "k t", "l"),
        ],
        "l",
    ),
}
MORE = {
    **SIX,
    "d2": random(24, 1, 1, 1, seed=6),
    "f1": random(4, 24, 1, 1, seed=7),
    "f2": random(24, 4, 1, 1, seed=8),
    "e2": random(24, seed=9),
}


@pytest.mark.parametrize("name", MIDDLES)
@pytest.mark.parametrize("bias", [True, False])
def test_channels_are_padded_to_a_multiple_of_16(name, bias):
    middle, last = MIDDLES[name]
    used = {item for found in middle for item in found.input}
    before = inverted(middle=middle, last=last, bias=bias, more={k: v for k, v in MORE.items() if k in used})
    after = rewritten(before, PADDED_CHANNELS)
    assert kinds(after) == kinds(before)
    assert [item for item in groups(after) if item > 1] == [32] * (2 if name == "second depthwise" else 1)
    sizes = {item.name: list(item.dims) for item in after.graph.initializer}
    assert [3, 32, 1, 1] in sizes.values()
    assert [32, 2, 1, 1] in sizes.values()
    assert_same(before, after, random(2, 2, 6, 5), atol=1e-6)


def test_multiples_of_16_and_other_convolutions_are_left():
    rewritten(inverted(32), PADDED_CHANNELS, changes=0)
    plain = make([node("Conv", "x w", "y")], {"w": random(5, 2, 1, 1)}, ["N", 2, 6, 5])
    rewritten(plain, PADDED_CHANNELS, changes=0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"count": 10}, "16 channels are more than"),
        ({"outputs": ("y", "k")}, "output of the graph"),
        ({"middle": [node("Add", "k n", "l")], "last": "l", "more": {"n": random(1, 24, 1, 1)}}, "Add"),
        ({"extra": [node("Conv", "x w", "z")], "outputs": ("y", "z")}, "shared"),
        ({"extra": [node("Concat", "k x", "z", axis=1)], "outputs": ("y", "z")}, "Concat"),
        (
            {"extra": [node("Conv", "k g", "z", group=2)], "outputs": ("y", "z"), "more": {"g": random(2, 12, 1, 1)}},
            "Conv",
        ),
    ],
)
def test_it_refuses(changed, reason):
    before = inverted(**changed)
    rewritten(before, PADDED_CHANNELS, changes=0, refusals=[reason])
