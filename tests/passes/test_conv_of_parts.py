"""Convolutions of two concatenated maps, one of which has its channels first in onnxruntime."""

import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st

from segtool.export.passes.conv_of_parts import CONV_OF_PARTS

MAKERS = {
    "InstanceNormalization": [node("InstanceNormalization", "x scale shift", "first")],
    "activated": [node("InstanceNormalization", "x scale shift", "u"), node("LeakyRelu", "u", "first")],
    "Relu": [node("Relu", "x", "first")],
}


def graph(
    maker="activated", *, inputs="first x", kernel=(3, 3), outputs=("y",), extra=(), group=1, bias=True, of=16, **conv
):
    count = of * len(inputs.split())
    joined = node("Concat", inputs, "c", axis=1)
    constants = {"scale": random(of, seed=2), "shift": random(of, seed=3)}
    constants |= {"w": random(10, count // group, *kernel, seed=5), "b": random(10, seed=6)}
    last = node("Conv", "c w b" if bias else "c w", "y", group=group, **conv)
    return make([*MAKERS[maker], joined, last, *extra], constants, ["N", of, 6, 8], outputs=outputs)


@settings(max_examples=25)
@given(
    maker=st.sampled_from(["InstanceNormalization", "activated"]),
    inputs=st.sampled_from(["first x", "x first"]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    bias=st.booleans(),
)
def test_convolutions_of_both_parts(maker, inputs, kernel, strides, pads, bias):
    before = graph(maker, inputs=inputs, kernel=kernel, strides=strides, pads=pads, bias=bias)
    after = rewritten(before, CONV_OF_PARTS)
    assert kinds(after)[-3:] == ["Conv", "Conv", "Add"]
    assert "Concat" not in kinds(after)
    assert_same(before, after, random(2, 16, 6, 8), atol=1e-4)


def test_behind_a_transposed_convolution():
    constants = {"up": random(16, 4, 2, 2, seed=4), "w": random(6, 20, 3, 3, seed=5)}  # 4 and 16 channels
    nodes = [
        node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("ConvTranspose", "p up", "u", strides=[2, 2]),
    ]
    nodes += [node("Concat", "u x", "c", axis=-3), node("Conv", "c w", "y", auto_pad="SAME_UPPER")]
    before = make(nodes, constants, ["N", 16, 6, 8])
    assert_same(before, rewritten(before, CONV_OF_PARTS), random(2, 16, 6, 8), atol=1e-4)


@pytest.mark.parametrize(("maker", "inputs"), [("Relu", "first x"), ("activated", "first x x"), ("activated", "first")])
def test_maps_in_blocks_and_other_numbers_of_maps_stay_together(maker, inputs):
    rewritten(graph(maker, inputs=inputs, pads=[1] * 4), CONV_OF_PARTS, changes=0)


def test_maps_of_another_rank_stay_together():
    """With axis=-3 the rows of a volume are joined, not its channels."""
    constants = {"scale": random(16, seed=2), "shift": random(16, seed=3), "w": random(4, 16, 3, 3, 3, seed=5)}
    nodes = [*MAKERS["InstanceNormalization"], node("Concat", "first x", "c", axis=-3), node("Conv", "c w", "y")]
    rewritten(make(nodes, constants, ["N", 16, 4, 5, 6]), CONV_OF_PARTS, changes=0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"extra": [node("Relu", "c", "z")], "outputs": ("y", "z")}, "2 users"),
        ({"group": 2}, "groups"),
        ({"of": 24}, "whole blocks"),
        ({"extra": [node("Conv", "c w b", "z")], "outputs": ("y", "z")}, "2 users"),
        ({"extra": [node("Relu", "w", "z")], "outputs": ("y", "z")}, "shared"),
    ],
)
def test_what_others_use_is_refused(options, reason):
    count = sum(item.op_type == "Conv" for item in options.get("extra", ())) + 1
    rewritten(graph(**options), CONV_OF_PARTS, changes=0, refusals=[reason] * count)
