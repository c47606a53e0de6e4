"""Transposed convolutions as convolutions: every geometry compared, what must stay, and every refusal."""

import itertools

import numpy as np
import pytest
from comparing import assert_same, kinds, make, node, random, rewritten
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segtool.export.passes import SHARED_REWRITES, rewrite
from segtool.export.passes.blocks_as_channels import BLOCKS_AS_CHANNELS
from segtool.export.passes.flipped_convolution import FLIPPED_CONVOLUTION

SMALL = 1e-4
ACTIVATIONS = {"Relu": {}, "Clip": {}, "LeakyRelu": {"alpha": 0.3}}
SIX = {"low": np.float32(0), "high": np.float32(6)}


def upsampled(kernel=(2, 2), *, size=(4, 6), activation="", bias=True, extra=(), outputs=("y",), **attributes):
    """A transposed convolution (stride: the kernel unless given), maybe an activation, and a convolution."""
    attributes = {"strides": list(kernel), **attributes}
    source = "u low high" if activation == "Clip" else "u"
    nodes = [
        node("ConvTranspose", "x w b" if bias else "x w", "u", **attributes),
        *([node(activation, source, "r", **ACTIVATIONS[activation])] if activation else []),
        node("Conv", "r v" if activation else "u v", "y"),
        *extra,
    ]
    constants = {
        "w": random(3, 5 // attributes.get("group", 1), *kernel, seed=1),
        "b": random(5, seed=2),
        "v": random(2, 5, 1, 1, seed=4),
        **(SIX if activation == "Clip" else {}),
    }
    return make(nodes, constants, ["N", 3, *size], outputs=outputs)


def every_geometry(kernel, stride):
    """All pads and output paddings along one axis, in one graph with its outputs end to end, and how many they are."""
    pads = {(begin, end) for begin in range(kernel) for end in (0, kernel - 1)}
    cases = list(itertools.product(sorted(pads), range(stride)))
    nodes, constants, names = [], {"v": random(2, 5, 1, 1, seed=4), "flat": np.array([-1])}, []
    for number, ((begin, end), more) in enumerate(cases):
        attributes = {"strides": [stride, 2], "pads": [begin, 0, end, 1], "output_padding": [more, 0]}
        constants[f"w{number}"] = random(3, 5, kernel, 2, seed=number)
        nodes += [
            node("ConvTranspose", f"x w{number}", f"u{number}", **attributes),
            node("Conv", f"u{number} v", f"c{number}"),
            node("Reshape", f"c{number} flat", f"y{number}"),
        ]
        names.append(f"y{number}")
    return make([*nodes, node("Concat", " ".join(names), "y", axis=0)], constants, ["N", 3, 6, 6]), len(cases)


@pytest.mark.parametrize("kernel", range(1, 7))
@pytest.mark.parametrize("stride", range(1, 5))
def test_every_kernel_stride_pad_and_output_padding(kernel, stride):
    before, count = every_geometry(kernel, stride)
    # A quarter of the taps at most: it would take four times the multiplications.
    refused = count if (kernel, stride) == (1, 4) else 0
    after, (outcome,) = rewrite(before, [BLOCKS_AS_CHANNELS])
    assert len(outcome.refusals) == kinds(after).count("ConvTranspose") == refused
    assert len(outcome.changes) == count - refused
    assert_same(before, after, random(2, 3, 6, 6), atol=SMALL)


@settings(max_examples=40)
@given(
    kernel=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    cuts=st.tuples(*[st.floats(0, 0.99)] * 6),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    activation=st.sampled_from([*ACTIVATIONS, ""]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_blocks_as_channels(kernel, strides, cuts, size, activation, bias, seed):
    begins = [int(cut * taps) for cut, taps in zip(cuts, kernel, strict=False)]
    ends = [int(cut * (taps - begin)) for cut, taps, begin in zip(cuts[2:4], kernel, begins, strict=True)]
    attributes = {
        "strides": list(strides),
        "pads": begins + ends,
        "output_padding": [int(cut * stride) for cut, stride in zip(cuts[4:], strides, strict=True)],
    }
    before = upsampled(kernel, size=size, activation=activation, bias=bias, **attributes)
    after, (outcome,) = rewrite(before, [BLOCKS_AS_CHANNELS])
    assume(outcome.changes)  # else it takes too many multiplications: see above
    assert "ConvTranspose" not in kinds(after)
    # A clamp is part of an INT8 convolution; a leaky ReLU is not.
    assert (kinds(after)[:2] == ["Conv", activation]) == (activation in ("Relu", "Clip"))
    assert_same(before, after, random(2, 3, *size, seed=seed), atol=SMALL)


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "more", "shape", "cropped"),
    [
        (2, 2, [0] * 4, 0, (20, 3, 1, 1), False),
        (4, 2, [1] * 4, 0, (20, 3, 2, 2), True),  # not three taps an axis, which would leave nothing to crop
        (3, 2, [1] * 4, 1, (20, 3, 2, 2), False),
        (3, 2, [0, 0, 1, 1], 0, (20, 3, 2, 2), False),
        (16, 8, [4] * 4, 0, (320, 3, 2, 2), True),
        (3, 3, [2, 2, 2, 2], 0, (45, 3, 1, 1), True),
        (1, 2, [0] * 4, 1, None, False),
    ],
)
def test_the_usual_geometries_take_the_fewest_taps(kernel, stride, pads, more, shape, cropped):
    before = upsampled(
        (kernel, kernel), size=(8, 8), strides=[stride] * 2, pads=pads, output_padding=[more] * 2, activation="Relu"
    )
    if shape is None:
        rewritten(before, BLOCKS_AS_CHANNELS, changes=0, refusals=["4.0 times the multiplications"])
        return
    after = rewritten(before, BLOCKS_AS_CHANNELS)
    assert shape in {tuple(item.dims) for item in after.graph.initializer}
    assert ("Slice" in kinds(after)) == cropped
    assert "DepthToSpace" not in kinds(after)
    assert_same(before, after, random(2, 3, 8, 8), atol=SMALL)


def test_blocks_with_two_users_are_both_served():
    second = [node("Relu", "u", "z"), node("Conv", "z v", "t"), node("Concat", "y t", "both", axis=2)]
    before = upsampled(extra=second, outputs=("both",))
    after = rewritten(before, BLOCKS_AS_CHANNELS)
    assert kinds(after)[:2] == ["Conv", "Transpose"]
    assert_same(before, after, random(2, 3, 4, 6), atol=SMALL)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"dilations": [2, 2]}, "dilation"),
        ({"output_shape": [9, 13]}, "output_shape"),
        ({"auto_pad": "SAME_UPPER"}, "automatic"),
        ({"size": ("H", 6)}, "not static"),
    ],
)
def test_blocks_as_channels_refuses(attributes, reason):
    rewritten(upsampled(**attributes), BLOCKS_AS_CHANNELS, changes=0, refusals=[reason])


def test_groups_and_shared_weights_are_refused():
    nodes = [node("ConvTranspose", "x w", "u", strides=[2, 2], group=4), node("Conv", "u v", "y")]
    constants = {"w": random(4, 1, 4, 4), "v": random(2, 4, 1, 1)}
    rewritten(make(nodes, constants, ["N", 4, 4, 6]), BLOCKS_AS_CHANNELS, changes=0, refusals=["groups"])
    twice = [*(node("ConvTranspose", "x w", name, strides=[2, 2]) for name in "st"), node("Add", "s t", "u")]
    shared = make([*twice, node("Conv", "u v", "y")], {**constants, "w": random(4, 4, 4, 4)}, ["N", 4, 4, 6])
    rewritten(shared, BLOCKS_AS_CHANNELS, changes=0, refusals=["shared", "shared"])


def scored(*widths, extra=()):
    """Transposed convolutions 4x4 of stride 2, with these numbers of channels, and a ReLU behind each but the last."""
    nodes, constants, value = [], {}, "x"
    for number, (inner, outer) in enumerate(itertools.pairwise(widths)):
        last = number == len(widths) - 2
        constants[f"w{number}"] = random(inner, outer, 4, 4, seed=number) / 4
        name = "y" if last and not extra else f"u{number}"
        nodes.append(node("ConvTranspose", f"{value} w{number}", name, strides=[2, 2], pads=[1] * 4))
        if not last:
            nodes.append(node("Relu", name, f"r{number}"))
        value = f"r{number}"
    return make([*nodes, *extra], constants, ["N", widths[0], 5, 5])


def test_a_decoder_of_transposed_convolutions_keeps_the_one_that_scores():
    before = scored(8, 6, 4, 3)
    after = rewritten(before, BLOCKS_AS_CHANNELS, changes=2)
    assert kinds(after).count("ConvTranspose") == 1
    assert_same(before, after, random(2, 8, 5, 5), atol=SMALL)


def test_scores_that_are_upsampled_stay():
    rewritten(scored(3, 3, 3), BLOCKS_AS_CHANNELS, changes=0)
    best = [node("ArgMax", "u1", "best", axis=1, keepdims=0), node("Cast", "best", "y", to=1)]
    labels = scored(3, 3, 3, extra=best)
    rewritten(labels, BLOCKS_AS_CHANNELS, changes=0)
    blocks, _ = rewrite(upsampled_scores(), SHARED_REWRITES)  # the last is a matrix product then
    assert kinds(blocks).count("MatMul") == 1
    assert kinds(blocks).count("ConvTranspose") == 1
    rewritten(blocks, BLOCKS_AS_CHANNELS, changes=0)


def upsampled_scores():
    """Scores upsampled twice, and the labels: as in FCN-8."""
    nodes = [
        node("ConvTranspose", "x w", "u", strides=[2, 2], pads=[1] * 4),
        node("ConvTranspose", "u v", "s", strides=[8, 8]),
        node("ArgMax", "s", "best", axis=1, keepdims=0),
        node("Cast", "best", "y", to=1),
    ]
    return make(nodes, {"w": random(3, 3, 4, 4), "v": random(3, 3, 8, 8)}, ["N", 3, 5, 5])


@settings(max_examples=25)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dilations=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 2, 4]),
    cuts=st.tuples(*[st.floats(0, 1)] * 4),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_stride_one_is_a_flipped_convolution(kernel, dilations, groups, cuts, bias, seed):
    reach = [step * (taps - 1) for step, taps in zip(dilations, kernel, strict=True)]
    begins = [int(cut * size) for cut, size in zip(cuts, reach, strict=False)]
    ends = [int(cut * (size - begin)) for cut, size, begin in zip(cuts[2:], reach, begins, strict=True)]
    attributes = {
        "pads": begins + ends,
        "dilations": list(dilations),
        "group": groups,
    }
    constants = {"w": random(4, 8 // groups, *kernel, seed=1), "b": random(8, seed=2)}
    nodes = [node("ConvTranspose", "x w b" if bias else "x w", "y", **attributes)]
    before = make(nodes, constants, ["N", 4, 7, 8])
    after = rewritten(before, FLIPPED_CONVOLUTION)
    assert kinds(after) == ["Conv"]
    assert_same(before, after, random(2, 4, 7, 8, seed=seed), atol=SMALL)


def test_a_sequence_is_flipped_as_well():
    before = make([node("ConvTranspose", "x w", "y", pads=[1, 0])], {"w": random(3, 2, 4)}, ["N", 3, 9])
    after = rewritten(before, FLIPPED_CONVOLUTION)
    assert kinds(after) == ["Conv"]
    assert_same(before, after, random(2, 3, 9), atol=SMALL)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"output_shape": [5, 7]}, "output_shape"),
        ({"pads": [2, 0, 0, 0]}, "cut off more"),
        ({"auto_pad": "SAME_UPPER"}, "automatic"),
    ],
)
def test_a_flipped_convolution_refuses(attributes, reason):
    before = upsampled(strides=[1, 1], **attributes)
    rewritten(before, FLIPPED_CONVOLUTION, changes=0, refusals=[reason])


def test_shared_weights_and_other_strides_are_not_flipped():
    rewritten(upsampled(), FLIPPED_CONVOLUTION, changes=0)
    twice = [*(node("ConvTranspose", "x w", name) for name in "st"), node("Add", "s t", "y")]
    shared = make(twice, {"w": random(3, 2, 3, 3)}, ["N", 3, 4, 6])
    rewritten(shared, FLIPPED_CONVOLUTION, changes=0, refusals=["shared", "shared"])
